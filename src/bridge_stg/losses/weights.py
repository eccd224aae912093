"""The weights of the loss terms (Eq. 7 to 9)."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LossWeights:
    """Weights of Eq. 7 to 9; the defaults are those of section 4.1, and 0 removes a term (Table 13).

    ``token`` is lambda_1 and ``spatial`` lambda_2 of Eq. 7; ``objectness`` alpha, ``box`` beta, ``giou`` gamma,
    ``denoising`` delta and ``alignment`` eta of Eq. 8; ``denoising_*`` the three lambdas of Eq. 9.
    """

    token: Weight = 1.0
    spatial: Weight = 0.02
    objectness: Weight = 1.0
    box: Weight = 0.5
    giou: Weight = 2.0
    denoising: Weight = 1.0
    alignment: Weight = 1.0
    denoising_objectness: Weight = 1.0
    denoising_box: Weight = 5.0
    denoising_giou: Weight = 2.0

    @classmethod
    def paper(cls) -> LossWeights:
        """Section 4.1, with its beta of 0.5."""
        return cls()

    @classmethod
    def ovdino(cls) -> LossWeights:
        """beta = 5.0, as in OV-DINO and in the paper's own Eq. 9, of which 0.5 is probably a misprint."""
        return cls(box=5.0)
