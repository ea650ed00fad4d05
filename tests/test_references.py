"""Each measure and each calibration has a test against something independent: this table names it."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

from core.registry import methods
from core.task import EVERY

METRICS = {
    "accuracy": "test_metrics.test_against_scikit_learn",
    "auroc": "test_metrics_binary.test_against_scikit_learn",
    "average_precision": "test_metrics_binary.test_against_scikit_learn",
    "brier": "test_metrics.test_against_scikit_learn",
    "classwise_ece_mean": "test_metrics.test_classwise_ece_against_a_loop",
    "classwise_ece_sum": "test_metrics.test_classwise_ece_against_a_loop",
    "coverage": "test_numbers.test_intervals_against_loops",
    "ece": "test_metrics.test_ece_equals_netcal_torchmetrics_and_a_loop",
    "ece_debiased": "test_metrics_confidence.test_debiased_against_a_loop",
    "ece_equal_mass": "test_metrics.test_equal_mass_bins_against_a_loop",
    "ece_smooth": "test_metrics_confidence.test_smooth_against_a_loop",
    "interval_score": "test_numbers.test_intervals_against_loops",
    "interval_width": "test_numbers.test_intervals_against_loops",
    "ks_calibration": "test_metrics_confidence.test_ks_against_a_loop",
    "macro_f1": "test_metrics.test_against_scikit_learn",
    "mae": "test_numbers.test_against_scikit_learn",
    "mce": "test_metrics.test_ece_equals_netcal_torchmetrics_and_a_loop",
    "mse": "test_numbers.test_against_scikit_learn",
    "nll": "test_metrics.test_against_scikit_learn",
    "r2": "test_numbers.test_against_scikit_learn",
    "rmse": "test_numbers.test_against_scikit_learn",
    "sharpness": "test_metrics_confidence.test_sharpness_is_the_brier_score_of_forecasts_that_hold",
}
CALIBRATIONS = {
    "bbq": "test_calibrators_more.test_bbq_is_the_average_over_all_binnings",
    "beta": "test_calibrators_more.test_beta_equals_scikit_learns_logistic_regression",
    "conformal": "test_conformal.test_the_factor_is_the_right_order_statistic",
    "dirichlet": "test_calibrators_more.test_the_matrix_is_where_scipy_ends",
    "ensemble": "test_calibrators_more.test_the_blend_meets_the_conditions_of_an_optimum",
    "histogram": "test_calibrators_more.test_histogram_is_the_share_of_each_tenth",
    "isotonic": "test_calibrators.test_isotonic_equals_scikit_learns_calibrated_classifier",
    "matrix": "test_calibrators_more.test_the_matrix_is_where_scipy_ends",
    "platt": "test_calibrators_more.test_platt_is_the_optimum_of_its_likelihood",
    "scale": "test_conformal.test_the_scale_is_at_the_maximum_of_the_likelihood",
    "temperature": "test_calibrators.test_temperature_equals_scikit_learn",
    "vector": "test_calibrators.test_vector_scaling_is_where_scipy_ends",
}
KINDS = {"metric": METRICS, "calibrate": CALIBRATIONS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_one_has_a_reference_and_every_reference_is_there(kind):
    registered = {one.name for task in EVERY for one in methods(kind, task)}
    lacking = registered - set(KINDS[kind])
    assert not lacking, f"name the independent test of {', '.join(sorted(lacking))}"
    assert not set(KINDS[kind]) - registered
    for name, place in KINDS[kind].items():
        module, test = place.split(".")
        text = (ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", text, re.M), f"{place}, the reference of {name}, is not there"
