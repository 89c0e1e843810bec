"""Lists of tables that are too big to count, and what a page answers while the database is busy."""

import psycopg
import pytest
from django.db import connection
from django.test import Client

from shop import db
from shop.backoffice.lists import EXACT_UP_TO, LAST_PAGE, EstimatingPaginator, find_user_ids
from shop.backoffice.overview import limited
from shop.models import ParkedItem, User

pytestmark = pytest.mark.django_db
MANY = EXACT_UP_TO + 50


def fill(rows: int) -> None:
    db.rows(
        "INSERT INTO shop_parkeditem (stage, item_id, attempts, last_error, updated_at) "
        "SELECT 'a', n, 1, '', now() FROM generate_series(1, %s) AS n",
        [rows],
    )


@pytest.fixture(scope="module")
def _registered() -> None:
    import config.admin_urls  # noqa: F401, PLC0415 - registers every page


def test_a_small_table_is_counted_exactly() -> None:
    fill(37)
    assert EstimatingPaginator(ParkedItem.objects.order_by("-pk"), 10).count == 37


def test_a_big_table_is_estimated() -> None:
    fill(MANY)
    db.rows("ANALYZE shop_parkeditem")
    paginator = EstimatingPaginator(ParkedItem.objects.order_by("-pk"), 10)
    assert (paginator.count, paginator.num_pages) == (MANY, LAST_PAGE)
    assert [item.item_id for item in paginator.page(1)][:2] == [MANY, MANY - 1]


def test_a_big_table_is_never_shown_as_smaller_than_what_was_counted() -> None:
    db.rows("ANALYZE shop_parkeditem")  # and then it grows
    fill(MANY)
    assert EstimatingPaginator(ParkedItem.objects.order_by("pk"), 10).count == EXACT_UP_TO + 1


def test_a_filtered_list_is_counted_up_to_the_limit() -> None:
    fill(MANY)
    db.rows("ANALYZE shop_parkeditem")
    listed = ParkedItem.objects.order_by("pk")
    assert EstimatingPaginator(listed.filter(stage="a"), 10).count == EXACT_UP_TO + 1
    assert EstimatingPaginator(listed.filter(item_id__lte=5), 10).count == 5


def test_a_card_says_when_it_stopped_counting() -> None:
    fill(EXACT_UP_TO)
    assert limited(ParkedItem.objects.all()) == "10,000"
    ParkedItem.objects.create(stage="b", item_id=1, attempts=1, last_error="", updated_at="2026-01-01T00:00:00Z")
    assert limited(ParkedItem.objects.all()) == "10,000+"


def test_a_user_is_found_by_name_in_any_case_and_width() -> None:
    user = User.objects.create_user("Kim5")
    wide = "ＫＩＭ５"
    assert [find_user_ids(word) for word in ("kim5", wide, "kim")] == [[user.pk], [user.pk], []]


def test_a_name_is_looked_up_in_its_index() -> None:
    db.rows("SET LOCAL enable_seqscan = off")
    explained = Explained()
    with connection.execute_wrapper(explained):
        find_user_ids("kim5")
    assert "user_username_taken" in explained.plan


class Explained:
    """Keeps PostgreSQL's plan of the statement that ran."""

    plan = ""

    def __call__(self, execute, sql, params, many, context):
        if sql.startswith("SELECT"):
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}", params)
                self.plan = "\n".join(row[0] for row in cursor.fetchall())
        return execute(sql, params, many, context)


@pytest.mark.usefixtures("_registered")
def test_a_locked_table_makes_the_page_answer_503() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    settings = connection.settings_dict
    address = {"host": settings["HOST"], "port": settings["PORT"], "user": settings["USER"], "dbname": settings["NAME"]}
    with psycopg.connect(**address, password=settings["PASSWORD"]) as other:
        other.execute("LOCK TABLE orders_order IN ACCESS EXCLUSIVE MODE")
        db.rows("SET LOCAL lock_timeout = '50ms'")
        answer = client.get("/admin/orders/order/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    assert "busy" in answer.text
