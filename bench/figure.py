"""One measured figure, and how it is printed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured; a figure without a reference has none and no ratio."""

    bench: str
    metric: str
    value: float
    unit: str
    reference: str | None = None
    reference_value: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference_value if self.reference_value else None

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "ratio": self.ratio})

    def as_text(self) -> str:
        text = f"{self.metric:<60} {self.value:>12,.2f} {self.unit}"
        if self.ratio is not None:
            text += f"   {self.ratio:.3f} × {self.reference} ({self.reference_value:,.2f})"
        return text
