"""Lists of tables with millions of rows: never count them all, never page deep, search only through indexes."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Lower
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from shop import accounts, db
from shop.models import User

EXACT_UP_TO = 10_000  # counting this many index entries takes about a millisecond
LAST_PAGE = 1_000  # an OFFSET reads all it skips; what is older is found by searching
LARGEST_ID = 2**63 - 1


def count_up_to(queryset: QuerySet[Any], limit: int) -> int:
    """Count the rows of `queryset`, but read at most `limit` of them."""
    return queryset.order_by()[:limit].count()


def estimated_rows(model: type[Model]) -> int:
    """Return PostgreSQL's own estimate of a table's rows, as of the last vacuum or analyze."""
    [(rows,)] = db.rows("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [model._meta.db_table])
    return int(rows)


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts exactly up to EXACT_UP_TO rows; beyond, a whole table is estimated and a filtered list says 10,001."""

    object_list: Any

    @cached_property
    def count(self) -> int:
        counted = count_up_to(self.object_list, EXACT_UP_TO + 1)
        if counted <= EXACT_UP_TO or self.object_list.query.where:
            return counted
        return max(counted, estimated_rows(self.object_list.model))

    @cached_property
    def num_pages(self) -> int:
        return min(super().num_pages, LAST_PAGE)


def find_user_ids(word: str) -> list[int]:
    """Return the id of the user with this name, whatever its case (at most one)."""
    name = accounts.canonical_name(word).lower()
    return list(User.objects.alias(folded=Lower("username")).filter(folded=name).values_list("pk", flat=True))


class IndexedSearch:
    """
    Search by whole values through indexed columns; Django's own search reads every row of a big table.

    A number is looked up in `search_numbers`, a word in `search_words`; either may be the name of the user whose id is
    in the column `search_owner`.
    """

    search_fields: ClassVar[Any] = ("pk",)  # shows the search box; what is searched stands below
    search_numbers: ClassVar[Any] = ("pk",)
    search_words: ClassVar[Any] = ()
    search_owner: ClassVar[Any] = ""
    search_help_text: ClassVar[Any] = _("Whole values only, for example an id or a user's name.")

    def conditions(self, term: str) -> Iterable[Q]:
        """Yield the conditions, any of which makes a row a hit."""
        if term.isascii() and term.isdigit():
            if int(term) <= LARGEST_ID:
                yield from (Q((name, int(term))) for name in self.search_numbers)
        else:
            yield from (Q((name, term)) for name in self.search_words)
        if self.search_owner:
            yield Q((f"{self.search_owner}__in", find_user_ids(term)))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        hit = Q(pk__in=[])
        for condition in self.conditions(term):
            hit |= condition
        return queryset.filter(hit), False
