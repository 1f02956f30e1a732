"""Exports a codec's networks as PyTorch programs, which the runtime runs on a GPU.

Whatever depends on weights alone is computed here, once: weight norm, the tables of codebooks, the rounding
to FP16. Eagerly, a sixth to a quarter of the operators of a step do only that.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.experimental.const_fold import split_const_subgraphs

from tritone_build.files import atomic_write
from tritone_build.graphs.role import Role
from tritone_build.graphs.tracing import quietly, traced
from tritone_build.guard import kept_rules
from tritone_runtime.manifests import PROGRAM_FACTS

__all__ = ["program_of", "write_program"]


class _Refusing(nn.Module):
    """A module whose last output says, BOOL [R], which rules the inputs keep; no lookup fails.

    ``note`` is called with each rule. Tracing takes back what a module writes into its attributes.
    """

    def __init__(self, module: nn.Module, note: Callable[[str], object]):
        super().__init__()
        self.module, self._note = module, note

    def forward(self, data: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        with kept_rules() as kept:
            outputs = self.module(data, *others)
        for rule in kept:
            self._note(rule)
        return (*outputs, torch.stack(list(kept.values()))) if kept else outputs


class _Folded(nn.Module):
    """A traced module in which whatever depends on weights and constants alone is replaced by its value."""

    def __init__(self, program: ExportedProgram):
        super().__init__()
        self.module: Any = split_const_subgraphs(program.module(check_guards=False))
        self.module.run_folding()
        for value in self.module.parameters():
            value.data = value.data.contiguous().clone()  # views of one memory would be saved whole

    def forward(self, data: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        outputs: tuple[Tensor, ...] = self.module(data, *others)
        return outputs


def program_of(role: Role) -> tuple[ExportedProgram, dict[str, str]]:
    """Trace a role with its weights folded; the program, and the facts that the runtime must know.

    Outputs come in the role's order, followed by BOOL [R] if the role has rules: which are kept.
    """
    rules: dict[str, None] = {}
    program = traced(_Refusing(role.module, rules.setdefault), role, has_others=True)
    with quietly(), torch.no_grad():
        folded = traced(_Folded(program), role, has_others=True)
    facts = {
        "inputs": json.dumps(role.inputs),
        "outputs": json.dumps(role.outputs),
        "rules": json.dumps(list(rules)),
    }
    return folded, facts | dict(role.metadata)


def write_program(role: Role, path: Path) -> None:
    """Write a role as a program, atomically."""
    program, facts = program_of(role)
    with atomic_write(path) as partial, partial.open("wb") as file:
        torch.export.save(program, file, extra_files={PROGRAM_FACTS: json.dumps(facts)})
