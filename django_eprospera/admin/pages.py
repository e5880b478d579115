"""Lists that page by key: each page is one range of an index, whatever the size of the table. Nothing is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ORDER_VAR, PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db.models import Q

if TYPE_CHECKING:
    from django.db.models import Field, Model
    from django.http import HttpRequest

__all__ = ["KeyedChangeList"]

_NEXT = "next"
_PREVIOUS = "previous"


class KeyedChangeList(ChangeList):
    """List in the order of one column that is never null, then of the primary key, in either direction.

    The first entry of the admin's `ordering` names the column, or one of `sortable_by`. An index has to begin with the columns
    of the filters, followed by this column and the primary key. The parameter of the page is `next` or `previous`, and value
    and primary key of the row at the edge of the page before.
    """

    previous_page = ""
    next_page = ""

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:  # noqa: ARG002 - Django's signature
        """Return the column with its direction, and the primary key unless the column is unique."""
        name = str(self.model_admin.get_ordering(request)[0])
        _before, sign, number = self.params.get(ORDER_VAR, "").partition(".")[0].rpartition("-")
        column = self.list_display[int(number)] if number.isdecimal() and int(number) < len(self.list_display) else ""
        if column in (self.sortable_by or ()):
            name = f"{sign}{self.get_ordering_field(column)}"
        sign, name = ("-", name[1:]) if name.startswith("-") else ("", name)
        return [f"{sign}{name}"] if self._field(name).unique else [f"{sign}{name}", f"{sign}pk"]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page, and one row more to know whether another page follows."""
        forward, edge = self._edge(request.GET.get(PAGE_VAR, ""))
        rows = self.queryset if forward else self.queryset.reverse()
        found = list((rows.filter(self._beyond(edge, forward=forward)) if edge else rows)[: self.list_per_page + 1])
        if edge and not found:  # the rows there are gone
            forward, edge = True, None
            found = list(self.queryset[: self.list_per_page + 1])
        more, found = len(found) > self.list_per_page, found[: self.list_per_page]
        if not forward:
            found.reverse()
        if edge if forward else more:
            self.previous_page = self._link(_PREVIOUS, found[0])
        if more if forward else edge:
            self.next_page = self._link(_NEXT, found[-1])
        self.result_list = found
        self.result_count = len(found)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = False
        self.multi_page = False  # for Django's links to numbered pages

    def _edge(self, text: str) -> tuple[bool, tuple[Any, Any] | None]:
        """Return whether a page lies behind a row, and the column and primary key of that row; None for the first page."""
        direction, _comma, values = text.partition(",")
        value, _comma, key = values.rpartition(",")
        try:
            edge = self._column.to_python(value), self.lookup_opts.pk.to_python(key)
        except ValidationError:
            return True, None
        return (direction == _NEXT, edge) if direction in (_NEXT, _PREVIOUS) else (True, None)

    def _beyond(self, edge: tuple[Any, Any], *, forward: bool) -> Q:
        value, key = edge
        name = self._column.attname
        operator = "gt" if forward != self._is_descending else "lt"
        beyond = Q(**{f"{name}__{operator}": value})
        if self._column.unique:
            return beyond
        # The first condition is what PostgreSQL can look up in the index.
        return Q(**{f"{name}__{operator}e": value}) & (beyond | Q(**{f"pk__{operator}": key}))

    def _link(self, direction: str, row: Model) -> str:
        value, key = self._column.value_to_string(row), self.lookup_opts.pk.value_to_string(row)
        return self.get_query_string({PAGE_VAR: f"{direction},{value},{key}"})

    @property
    def _is_descending(self) -> bool:
        return str(self.queryset.query.order_by[0]).startswith("-")

    @property
    def _column(self) -> Field[Any, Any]:
        return self._field(self.queryset.query.order_by[0].removeprefix("-"))

    def _field(self, name: str) -> Field[Any, Any]:
        return self.lookup_opts.get_field(name)  # type: ignore[return-value]
