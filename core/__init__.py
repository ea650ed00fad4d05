"""Temper's compute core: load, transform, evaluate, explain. Knows nothing of Streamlit."""
