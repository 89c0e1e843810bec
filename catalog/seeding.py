"""Products that read like a shop's, their stock, and the goods side of seeded orders."""

from datetime import datetime

from django.conf import settings

from shop import db
from shop.seeding import Chunk, Subject, add_subject, fills

CATEGORIES = {  # category: usual price in won, and what is sold in it
    "식품": (6_000, "사과 감자 한우 김치 두유 현미 견과 만두 라면 커피 꿀 올리브유"),
    "생활": (9_000, "세제 휴지 수건 칫솔 방향제 빨래건조대 옷걸이 물티슈 수납함 우산 이불 베개"),
    "주방": (18_000, "프라이팬 냄비 식칼 도마 텀블러 밀폐용기 수저세트 접시 머그컵 보온병 주전자 행주"),
    "패션": (32_000, "티셔츠 셔츠 청바지 원피스 니트 재킷 코트 양말 모자 운동화 가방 벨트"),
    "뷰티": (21_000, "토너 세럼 크림 선크림 클렌저 마스크팩 립밤 쿠션 샴푸 트리트먼트 핸드크림 향수"),
    "가전": (120_000, "청소기 공기청정기 가습기 선풍기 전기포트 믹서기 토스터 헤드폰 스피커 모니터 키보드 마우스"),
    "스포츠": (38_000, "요가매트 덤벨 러닝화 자전거헬멧 배드민턴라켓 축구공 등산배낭 텐트 침낭 수영복 물안경 캠핑의자"),
    "유아": (24_000, "기저귀 분유 젖병 아기띠 유모차 턱받이 블록 인형 그림책 내의 카시트 아기욕조"),
    "반려": (15_000, "사료 간식 배변패드 고양이모래 캣타워 목줄 하네스 장난감 방석 급수기 이동장 빗"),
    "문구": (4_000, "볼펜 노트 다이어리 형광펜 필통 스티커 파일 클립 마커 연필 색연필 메모지"),
}
NOUNS_EACH = 12
BRANDS = (
    "온담 하루결 소담 늘봄 바른터 새솔 한빛고을 모아담 도담 라온 가온 해솔 다온 미르 여울 한결 누리봄 참솔 담우 서린"
)
ADJECTIVES = (
    "산뜻한 든든한 포근한 가벼운 튼튼한 부드러운 상쾌한 고급 실속 휴대용 대용량 친환경 무향 프리미엄 클래식 데일리"
)
VARIANTS = "1개입 2개입 3개입 5개입 10개입 세트 소형 중형 대형 화이트 블랙 네이비 베이지 그린 리필 선물세트 한정판 특가"
ASSORTMENT_SHARE, ASSORTMENT_LEAST = 0.2, 150  # only part of a catalogue ever sells; the rest is the long tail
POPULARITY_DAYS = 30  # what catalog.flows says too, which stands above this module; a test compares them

add_subject(
    Subject(
        name="products",
        table="catalog_product",
        last_number="SELECT max(substr(sku, 5)::bigint) FROM catalog_product WHERE sku ~ '^SKU-[0-9]{8,15}$'",
        rows_per_chunk=50_000,
    )
)


@fills("products")
def insert_products(chunk: Chunk) -> None:
    """Insert products `SKU-00000001`, …; prices are multiples of 100 won around what is usual for the category."""
    chunk.run(
        INSERT_PRODUCTS,
        categories=list(CATEGORIES),
        prices=[price for price, _ in CATEGORIES.values()],
        nouns=[noun for _, nouns in CATEGORIES.values() for noun in nouns.split()],
        nouns_each=NOUNS_EACH,
        brands=BRANDS.split(),
        adjectives=ADJECTIVES.split(),
        variants=VARIANTS.split(),
    )


INSERT_PRODUCTS = """
    WITH rolled AS (
        SELECT i, %(number)s + i AS number,
               floor(10 * pg_temp.dice(%(number)s + i, 101))::int AS category,
               floor(%(nouns_each)s * pg_temp.dice(%(number)s + i, 102))::int AS noun,
               1 + floor(cardinality(%(brands)s::text[]) * pg_temp.dice(%(number)s + i, 103))::int AS brand,
               1 + floor(cardinality(%(adjectives)s::text[]) * pg_temp.dice(%(number)s + i, 104))::int AS adjective,
               1 + floor(cardinality(%(variants)s::text[]) * pg_temp.dice(%(number)s + i, 105))::int AS variant,
               0.4 + 0.8 * pg_temp.dice(%(number)s + i, 106) + 5 * power(pg_temp.dice(%(number)s + i, 107), 12) AS dear
        FROM generate_series(0, %(count)s - 1) i
    ), worded AS (
        SELECT i, number, (%(categories)s::text[])[1 + category] AS category,
               (%(brands)s::text[])[brand] || ' ' || (%(adjectives)s::text[])[adjective] || ' '
               || (%(nouns)s::text[])[1 + category * %(nouns_each)s + noun] || ' ' || (%(variants)s::text[])[variant]
               AS name,
               greatest(100, 100 * floor((%(prices)s::int[])[1 + category] * dear / 100))::bigint AS price
        FROM rolled
    ), product AS (
        INSERT INTO catalog_product
            (id, sku, name, description, category, price, image_url, is_hidden, popularity, created_at)
        SELECT %(first_id)s + i, 'SKU-' || lpad(number::text, greatest(8, length(number::text)), '0'), name,
               name || '. ' || category || ' 인기 상품, 주문 당일 출고.', category, price, '', false, 0,
               %(now)s - interval '91 days' - interval '365 days' * (1 - (%(done)s + i) / %(total)s::float8)
        FROM worded
        RETURNING id, created_at
    ), stocked AS (
        SELECT id, created_at, coalesce(%(stock)s::bigint,
               (100 * power(100, pg_temp.dice(%(number)s + id - %(first_id)s, 108)))::bigint) AS pieces
        FROM product
    ), stock AS (
        INSERT INTO catalog_stock (product_id, available) SELECT id, pieces FROM stocked ORDER BY id
    )
    INSERT INTO catalog_stockmovement (product_id, kind, delta, order_id, reason, created_at)
    SELECT id, 'restock', pieces, NULL, 'first stock', created_at FROM stocked WHERE pieces <> 0 ORDER BY id
"""


def count_goods(limit: int) -> int:
    """Return how many products are on sale, counting no further than `limit`."""
    rows = db.rows("SELECT count(*) FROM (SELECT 1 FROM catalog_product WHERE NOT is_hidden LIMIT %s) p", [limit])
    return int(rows[0][0])


def list_goods(chunk: Chunk) -> None:
    """
    Leave the products this chunk's orders may contain in the temporary table `seed_good` (n from 0 on, product_id,
    product_name, unit_price): a part of the products of this run if it has some, else of all on sale, in the chunk's
    lane; which ones is a matter of dice, so that best sellers are spread over the catalogue.
    """
    products = chunk.blocks.get("products")
    chunk.run(
        """
        CREATE TEMP TABLE seed_good ON COMMIT DROP AS
        WITH ranked AS (
            SELECT row_number() OVER (ORDER BY pg_temp.dice(id, 109), id) - 1 AS n, count(*) OVER () AS total,
                   id AS product_id, name AS product_name, price AS unit_price
            FROM catalog_product
            WHERE NOT is_hidden AND id %% %(lanes)s = %(lane)s
              AND (%(low)s::bigint IS NULL OR id BETWEEN %(low)s AND %(high)s)
        )
        SELECT n, product_id, product_name, unit_price FROM ranked WHERE n < greatest(%(least)s, %(share)s * total)
        """,
        low=products.start if products else None,
        high=products.stop - 1 if products else None,
        share=ASSORTMENT_SHARE,
        least=ASSORTMENT_LEAST,
    )


def sell_seeded(chunk: Chunk) -> None:
    """
    Move the stock of the lines in the temporary table `seed_line` (order_id, product_id, quantity, amount,
    reserved_at, released_at, sold_at; times are NULL where the step was not taken) and count what was sold.

    Products with too little stock are restocked first.  Locks: stock, by product; then daily sales.
    """
    for statement in (LOCK_STOCK, RESTOCK, MOVE, UPDATE_STOCK, COUNT_SALES, "DROP TABLE seed_stock"):
        chunk.run(statement, zone=settings.SHOP_TIME_ZONE)


def refresh_popularity(now: datetime) -> None:
    """Let seeded sales count at once: the clock's refresh has a time limit that a hundred thousand changes exceed."""
    db.rows(
        """
        UPDATE catalog_product p SET popularity = units
        FROM (SELECT product_id, sum(units) AS units FROM catalog_dailysales
              WHERE date >= (%s AT TIME ZONE %s)::date - %s GROUP BY product_id) sold
        WHERE p.id = product_id AND popularity <> units
        """,
        [now, settings.SHOP_TIME_ZONE, POPULARITY_DAYS - 1],
    )


LOCK_STOCK = """
    CREATE TEMP TABLE seed_stock ON COMMIT DROP AS
    WITH due AS MATERIALIZED (
        SELECT product_id, sum(quantity) AS reserved,
               coalesce(sum(quantity) FILTER (WHERE released_at IS NOT NULL), 0) AS released,
               min(reserved_at) AS first_at
        FROM seed_line WHERE reserved_at IS NOT NULL GROUP BY product_id
    ), locked AS MATERIALIZED (
        SELECT product_id, available FROM catalog_stock WHERE product_id IN (SELECT product_id FROM due)
        ORDER BY product_id FOR NO KEY UPDATE
    )
    SELECT product_id, reserved - released AS taken, first_at,
           CASE WHEN reserved > available THEN 100 * ceil((reserved - available) / 100.0)::bigint ELSE 0 END AS missing
    FROM locked JOIN due USING (product_id)
"""

RESTOCK = """
    INSERT INTO catalog_stockmovement (product_id, kind, delta, order_id, reason, created_at)
    SELECT product_id, 'restock', missing, NULL, 'stock for seeded orders', first_at - interval '1 minute'
    FROM seed_stock WHERE missing > 0 ORDER BY product_id
"""

MOVE = """
    INSERT INTO catalog_stockmovement (product_id, kind, delta, order_id, reason, created_at)
    SELECT product_id, kind, delta, order_id, '', at FROM (
        SELECT product_id, 'reserve' AS kind, -quantity AS delta, order_id, reserved_at AS at FROM seed_line
        WHERE reserved_at IS NOT NULL
        UNION ALL
        SELECT product_id, 'release', quantity, order_id, released_at FROM seed_line WHERE released_at IS NOT NULL
    ) movement ORDER BY at, order_id, product_id
"""

UPDATE_STOCK = """
    UPDATE catalog_stock s SET available = s.available + d.missing - d.taken
    FROM seed_stock d WHERE s.product_id = d.product_id AND d.missing <> d.taken
"""

COUNT_SALES = """
    INSERT INTO catalog_dailysales AS s (date, product_id, units, revenue)
    SELECT (sold_at AT TIME ZONE %(zone)s)::date AS date, product_id, sum(quantity), sum(amount)
    FROM seed_line WHERE sold_at IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (date, product_id) DO UPDATE
    SET units = s.units + excluded.units, revenue = s.revenue + excluded.revenue
"""
