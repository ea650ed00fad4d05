"""Choosing a recipe: search under budgets, and bits and sparsity of each layer under one."""
