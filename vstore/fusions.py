"""Names of the rules by which a read of two versions makes one list of two."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

FusionName: TypeAlias = Literal[
    "slots",
    "evidence",
    "imputed",
    "rrf",
    "bridged-slots",
    "bridged-evidence",
    "bridged-imputed",
    "auto",
]
DEFAULT_FUSION: Final[FusionName] = "slots"
BRIDGED: Final = "bridged-"  # what the rules that need a bridge begin with
FUSIONS: Final[tuple[FusionName, ...]] = get_args(FusionName)
