"""Runs go to MLflow too, where the person named a server in MLFLOW_TRACKING_URI; nothing is sent otherwise.

A thread of its own sends, so that a dead server slows nothing down; `standing` says in a sentence how it goes. A run
is sent once: it carries its id as a tag, by which it is found again on the server.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.errors import TemperError

if TYPE_CHECKING:
    from core.run import Run

URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "Temper"  # unless MLFLOW_EXPERIMENT_NAME names another
TAG = "temper.run"
PATIENCE = 2.0  # seconds a run waits before it is sent, in which its latency is measured
BACKLOG = 500  # runs waiting, beyond which the oldest are let go
LONGEST = 500  # letters of a parameter's value or a tag: what every MLflow server takes
# Only what the person has not set: fail soon, and no telemetry of MLflow's own.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a folder is the one local place that mlflow-skinny can write to
}

_lock = threading.Condition()
_waiting: OrderedDict[str, tuple[Run, float]] = OrderedDict()
_sent = 0
_busy = False
_failure = ""
_thread: threading.Thread | None = None


def uri() -> str | None:
    """Where runs are sent, or None."""
    return os.environ.get(URI) or None


def shown(address: str) -> str:
    """An address without the user name and password that it may carry."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.netloc else address


def standing() -> str:
    """One sentence of how the export goes; nothing where none was asked for."""
    address = uri()
    if address is None:
        return ""
    with _lock:
        if _failure:
            return f"Sending runs to MLflow at {shown(address)} fails ({_failure}); they are kept here."
        number = "no run" if not _sent else "1 run" if _sent == 1 else f"{_sent:,} runs"
        return f"Runs are also sent to MLflow at {shown(address)}: {number} so far."


def submit(run: Run) -> None:
    """Send a run soon, in the background; given again before that, it is sent once. Never raises."""
    global _thread
    if uri() is None:
        return
    with _lock:
        due = time.monotonic() + PATIENCE
        if run.id in _waiting:
            before, due = _waiting[run.id]
            run = replace(run, latency=run.latency or before.latency)
        _waiting[run.id] = (run, due)
        while len(_waiting) > BACKLOG:
            _waiting.popitem(last=False)
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_send_on, name="mlflow", daemon=True)
            _thread.start()
        _lock.notify_all()


def flush(seconds: float) -> bool:
    """Wait until nothing is left to send, at most this long; False where something is."""
    until = time.monotonic() + seconds
    with _lock:
        while (_waiting or _busy) and (left := until - time.monotonic()) > 0:
            _lock.wait(min(left, 0.1))
        return not _waiting and not _busy


def _send_on() -> None:
    global _sent, _failure, _busy
    while True:
        with _lock:
            _busy = False
            _lock.notify_all()
            while not _waiting:
                _lock.wait()
            run, due = next(iter(_waiting.values()))
            if (left := due - time.monotonic()) > 0:
                _lock.wait(left)
                continue
            del _waiting[run.id]
            _busy = True
        try:
            send(run)
        except TemperError as error:
            with _lock:
                _failure = error.message
        else:
            with _lock:
                _sent, _failure = _sent + 1, ""


def send(run: Run) -> bool:
    """Send one run now; False where the server has it already. Raises `TemperError`, whatever the server does."""
    address = uri()
    if address is None:
        raise TemperError(f"{URI} names no MLflow server.", f"Set it, such as {URI}=http://127.0.0.1:5000.")
    if find_spec("mlflow") is None:
        raise TemperError("mlflow is not installed", "pip install -r requirements-mlflow.txt")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return _send(run, address)
    except Exception as error:  # a library, a network and a server: anything may come
        text = re.sub(r"://[^/@\s]*@", "://", " ".join(str(error).split())) or type(error).__name__
        raise TemperError(text if len(text) <= 160 else f"{text[:157]}...") from error


def _send(run: Run, address: str) -> bool:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=address, registry_uri=None)
    experiment = _experiment(client)
    found = client.search_runs([experiment], f"tags.`{TAG}` = '{run.id}'", max_results=1)
    known = set(found[0].data.metrics) if found else set()
    moment = int(1000 * run.time)
    metrics = [Metric(name, value, moment, 0) for name, value in values(run).items() if name not in known]
    if found:
        if metrics:  # its latency has been measured since
            client.log_batch(found[0].info.run_id, metrics=metrics)
        return False
    made = client.create_run(experiment, start_time=moment, tags=tags(run), run_name=run.label[:LONGEST])
    client.log_batch(
        made.info.run_id, metrics, [Param(name, str(value)[:LONGEST]) for name, value in parameters(run).items()]
    )
    client.log_text(made.info.run_id, run.recipe, "recipe.json")
    client.set_terminated(made.info.run_id, end_time=moment)
    return True


def _experiment(client: Any) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found is not None else client.create_experiment(name))


def parameters(run: Run) -> dict[str, Any]:
    """The recipe's steps flattened, such as `1.prune.method` and `1.prune.sparsity`, and the seed."""
    import json

    recipe = json.loads(run.recipe)
    flat: dict[str, Any] = {"seed": recipe["seed"]}
    for place, step in enumerate(recipe["steps"], 1):
        flat[f"{place}.{step['kind']}.method"] = step["method"]
        flat |= {f"{place}.{step['kind']}.{name}": value for name, value in step["params"].items()}
    return flat


def values(run: Run) -> dict[str, float]:
    """Every figure of a run that is known, by name."""
    found: dict[str, float | None] = {}
    for side, prefix in (("result", ""), ("original", "original_"), ("change", "change_")):
        for name, (value, _, _) in run.figures[side].items():
            found[prefix + name] = value
    for side, prefix in (("result", ""), ("original", "original_")):
        found |= {f"{prefix}{part}_bytes": size for part, size in run.figures["bytes"][side].items()}
        if run.latency is not None:
            found |= {f"{prefix}latency_{part}_ms": run.latency[side][part] for part in ("p50", "p95")}
    found |= {"flips": (run.figures["flips"] or {}).get("flips"), "mcnemar_p": run.figures["mcnemar_p"]}
    return {name: float(value) for name, value in found.items() if value is not None}


def tags(run: Run) -> dict[str, str]:
    """What a run rests on: fingerprints, versions, the code."""
    found = {
        TAG: run.id, "temper.model": run.model, "temper.model.fingerprint": run.model_fingerprint,
        "temper.data": run.data, "temper.data.fingerprint": run.data_fingerprint, "temper.notation": run.notation,
        "temper.recipe.fingerprint": run.recipe_fingerprint, "temper.code": run.code, "temper.n": str(run.n),
    }  # fmt: skip
    found |= {f"temper.version.{name}": version for name, version in run.versions.items()}
    return {name: value[:LONGEST] for name, value in found.items()}
