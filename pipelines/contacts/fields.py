"""What a source may map of each entity: its fields, and the rule that reads each.

Knows their names and which are optional; reads no export.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from pipelines.contacts.formats import Closed
from pipelines.contacts.rules import Rule


class Fields(Closed):
    """The rules of one entity; `skip` names values whose rows hold none of it."""

    skip: dict[str, list[str]] = Field(default={})

    def rules(self) -> Iterator[tuple[str, Rule]]:
        for name in type(self).model_fields:
            rule = getattr(self, name)
            if isinstance(rule, Rule):
                yield name, rule

    def columns(self) -> set[str]:
        return {column for _, rule in self.rules() for column in rule.columns} | set(self.skip)


class Contacts(Fields):
    key: Rule
    address: Rule
    first_name: Rule | None = None
    last_name: Rule | None = None
    locale: Rule | None = None
    time_zone: Rule | None = None
    country: Rule | None = None
    city: Rule | None = None
    birth_on: Rule | None = None
    created_at: Rule | None = None
    attributes: dict[str, Rule] = Field(default={})

    def columns(self) -> set[str]:
        return super().columns() | {
            name for rule in self.attributes.values() for name in rule.columns
        }


class Cancelled(Closed):
    column: str
    starts_with: str


class Orders(Fields):
    """An order is all rows with its key; its amount is the sum of theirs."""

    key: Rule
    contact: Rule
    ordered_at: Rule
    amount: Rule | None = Field(None, description="or quantity and unit_price")
    quantity: Rule | None = None
    unit_price: Rule | None = None
    status: Rule | None = None
    cancelled_when: Cancelled | None = None

    def columns(self) -> set[str]:
        extra = {self.cancelled_when.column} if self.cancelled_when else set()
        return super().columns() | extra


class OrderLines(Fields):
    order: Rule
    product: Rule
    quantity: Rule
    unit_price: Rule


class Products(Fields):
    key: Rule
    name: Rule
    category: Rule | None = None
    price: Rule | None = None


class Activities(Fields):
    """What contacts did; without a key, an activity is known by all it says, so that it comes once."""

    key: Rule | None = None
    contact: Rule
    kind: Rule
    occurred_at: Rule
    product: Rule | None = None


class Consents(Fields):
    contact: Rule
    status: Rule
    recorded_at: Rule
    purpose: Rule = Rule(constant="marketing")
    topic: Rule | None = None
    lawful_basis: Rule | None = None
    wording_version: Rule | None = None
    proof: Rule | None = None


class Suppressions(Fields):
    address: Rule
    reason: Rule = Rule(constant="imported")
    since_at: Rule | None = None
    scope: Rule = Rule(constant="all")
    scope_key: Rule | None = None


FIELDS: dict[str, type[Fields]] = {
    "contacts": Contacts,
    "orders": Orders,
    "order_lines": OrderLines,
    "products": Products,
    "activities": Activities,
    "consents": Consents,
    "suppressions": Suppressions,
}
