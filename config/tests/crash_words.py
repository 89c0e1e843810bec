"""The words of docs/crash-points.md, English and Korean side by side."""

from dataclasses import dataclass

from config.tests.crash_points import Kind, Outcome

Words = tuple[str, str]
EN, KO = 0, 1


@dataclass(frozen=True, slots=True)
class Page:
    """One of the two documents: `head` stands above the tables."""

    language: int
    head: str
    columns: str


FLOW_WORDS: dict[str, Words] = {
    "orders.place_order": (
        "`POST /orders`: the order is written and answered with 202; the stages settle it.",
        "`POST /orders`: 주문을 쓰고 202로 답한다. 결제까지는 단계들이 처리한다.",
    ),
    "orders.reserve_stock": (
        "The first stage: stock for the next orders. A batch of five orders is under way that meets every fate.",
        "첫 단계: 다음 주문들의 재고를 잡는다. 모든 결말이 하나씩 나오는 주문 다섯 건이 한 배치로 들어간다.",
    ),
    "orders.redeem_coupons": (
        "The second stage: coupons and discounts of the same batch.",
        "둘째 단계: 같은 배치의 쿠폰과 할인.",
    ),
    "orders.take_payments": (
        "The third stage: money for the same batch.",
        "셋째 단계: 같은 배치의 결제.",
    ),
    "orders.release": (
        "What refused orders of the batch hold is given back, and they fail.",
        "거절된 주문이 쥐고 있던 것을 돌려주고 주문을 실패로 끝낸다.",
    ),
    "orders.cancel_order": (
        "`POST /orders/{id}/cancel`: money, coupon and stock of a paid order go back.",
        "`POST /orders/{id}/cancel`: 결제된 주문의 돈, 쿠폰, 재고를 돌려준다.",
    ),
    "balance.charge_balance": (
        "`POST /balance/charge`: a wallet is charged, by its owner or by staff.",
        "`POST /balance/charge`: 지갑을 충전한다. 본인이 하거나 운영자가 한다.",
    ),
    "coupons.begin_claim": (
        "`POST /coupons/issue` with a key, first step: the key is taken, because the gate works outside transactions.",
        "키가 있는 `POST /coupons/issue`의 첫걸음: 게이트는 트랜잭션 밖에서 일하므로 키부터 잡아 둔다.",
    ),
    "coupons.rebuild_gate": (
        "The claim finds no gate and builds it from PostgreSQL.",
        "게이트가 없어 PostgreSQL의 내용으로 다시 세운다.",
    ),
    "coupons.claim_coupon": (
        "The gate has answered.",
        "게이트가 답한 뒤.",
    ),
    "coupons.claim_under_row_lock": (
        "The gate fails (to the web: Redis is away), and the claim is decided under the campaign's row lock.",
        "게이트가 실패해(웹에서는 Redis가 없는 것과 같다) 캠페인 행 잠금 아래에서 발급을 정한다.",
    ),
    "coupons.suspend_claim": (
        "An error came after the gate had answered: the key is freed for the next attempt.",
        "게이트가 답한 뒤 오류가 났다. 다음 시도를 위해 키를 풀어 준다.",
    ),
    "coupons.answer_claim": (
        "The last step: the answer is recorded for the key.",
        "마지막 걸음: 키에 답을 기록한다.",
    ),
    "coupons.record_claims": (
        "The worker writes three claims from the stream into PostgreSQL.",
        "워커가 스트림의 발급 요청 세 건을 PostgreSQL에 쓴다.",
    ),
}

STEP_WORDS: dict[str, Words] = {
    "begun": ("the transaction has begun", "트랜잭션을 막 시작했을 때"),
    "before_commit": ("just before COMMIT", "COMMIT 직전"),
    "after_commit": ("just after COMMIT, before its hooks", "COMMIT 직후, 커밋 뒤의 훅이 돌기 전"),
    "announced": ("after the hooks, before the answer leaves", "훅이 돈 뒤, 답을 보내기 전"),
    "stage.announced": ("after the hooks, before the runner notes it", "훅이 돈 뒤, 실행기가 기록하기 전"),
    "claim.announced": ("after the hooks, before the next step", "훅이 돈 뒤, 다음 걸음 전"),
    "remember": ("before the answer is recorded for the key", "키에 답을 기록하기 전"),
    "record": ("before the operator's act is written down", "운영자의 행위를 적기 전"),
    "insert_order": ("before the order is written", "주문을 쓰기 전"),
    "take_stock": ("before stock is taken", "재고를 빼기 전"),
    "advance": ("before the orders move on", "주문을 다음 상태로 옮기기 전"),
    "fail": ("before orders fail", "주문을 실패로 끝내기 전"),
    "refuse": ("before refused orders are handed to `release`", "거절된 주문을 `release`에 넘기기 전"),
    "redeem": ("before coupons are spent", "쿠폰을 쓰기 전"),
    "apply_discounts": ("before discounts are set", "할인을 적용하기 전"),
    "record_payments": ("before wallets are debited", "지갑에서 돈을 빼기 전"),
    "record_sales": ("before the day's sales are counted", "그날의 판매를 집계하기 전"),
    "record_refunds": ("before money goes back", "환불하기 전"),
    "withdraw_sales": ("before the sale is taken off its day", "그날의 판매에서 빼기 전"),
    "give_back": ("before coupons go back", "쿠폰을 돌려주기 전"),
    "give_stock_back": ("before stock goes back", "재고를 돌려주기 전"),
    "charge": ("before the wallet is charged", "지갑을 충전하기 전"),
    "record_places": ("before places are written", "자리를 쓰기 전"),
    "outdate_gate": ("before the gate gets a new version", "게이트에 새 버전을 주기 전"),
    "next_gate_epoch": ("before the gate gets its numbers and is built", "번호를 받아 게이트를 세우기 전"),
    "next_issuance_id": ("before the coupon gets its id", "쿠폰 번호를 받기 전"),
    "placed": ("the customer is in, nobody has been told", "고객은 들어왔고 아직 아무도 모를 때"),
    "acknowledged": ("the claims are off the stream", "스트림에서 요청을 지운 뒤"),
}

RETRY_WORKS: Words = ("undone; the retry does it", "없던 일. 재시도가 한다")
RETRY_REPLAYS: Words = ("done; the retry gets the first answer", "끝난 일. 재시도는 첫 답을 받는다")
OUTCOME_WORDS: dict[tuple[Kind, Outcome], Words] = {
    (Kind.REQUEST, Outcome.UNDONE): RETRY_WORKS,
    (Kind.REQUEST, Outcome.DONE): RETRY_REPLAYS,
    (Kind.CLAIM, Outcome.UNDONE): RETRY_WORKS,
    (Kind.CLAIM, Outcome.DONE): RETRY_REPLAYS,
    (Kind.CLAIM, Outcome.IN_FLIGHT): (
        "409 in flight for 10 s, then the retry finishes it",
        "10초 동안 409(처리 중), 그 뒤 재시도가 마친다",
    ),
    (Kind.CLAIM, Outcome.RESUMED): ("the retry finishes it", "재시도가 마친다"),
    (Kind.STAGE, Outcome.UNDONE): ("rolled back, claimed again", "롤백되고 다시 가져간다"),
    (Kind.STAGE, Outcome.DONE): ("kept, not claimed again", "남고, 다시 가져가지 않는다"),
    (Kind.STAGE, Outcome.REPEATED): ("kept; recorded again to no effect", "남고, 다시 기록해도 바뀌지 않는다"),
}

ENGLISH = Page(
    EN,
    """\
# Crash points

[한국어](crash-points.ko.md) · written by `make crash-points` from `config/tests/crash_points.py` once all has passed

The order, cancel, charge and coupon flows have {points} points: where a transaction begins, before each operation that
writes, around COMMIT, and before anybody hears of it. A real shop runs (gunicorn, Celery, PostgreSQL, Valkey). At each
point the process is killed (SIGKILL); in a second round the code raises there instead: {crashes} crashes. gunicorn and
Celery start the next process, the client retries with the same `Idempotency-Key`, the sweep comes. Then:

- every order must be settled, and `audit` clean;
- balances, stock, coupons and orders must be what one effect makes of them, to the unit;
- the retry must have an answer, and one more retry the same one, with `Idempotent-Replayed: true`.

A killed process answers nothing; a request that raises answers 500; a batch that raises is halved and tried again.

What shows that these tests can fail: the same flows, committed halfway on purpose and killed there, do damage that is
found; a point nobody passes fails; so does one that is in the code and not here, or here and not in the code.
Outside tests there are no points: `SHOP_FAILPOINTS` is refused without `SHOP_TESTING`.
""",
    "| # | point | when | killed | raises |",
)

KOREAN = Page(
    KO,
    """\
# 크래시 지점

[English](crash-points.md) · 모든 지점이 통과하면 `make crash-points`가 `config/tests/crash_points.py`로 쓰는 문서

주문, 취소, 충전, 쿠폰 흐름에는 지점이 {points}개 있다. 트랜잭션이 시작하는 곳, 쓰기 연산마다 그 앞, COMMIT 앞뒤,
그리고 누군가에게 알리기 직전이다. 진짜 상점(gunicorn, Celery, PostgreSQL, Valkey)을 띄운다. 지점마다 프로세스를
죽이고(SIGKILL), 두 번째 판에서는 죽이는 대신 예외를 던진다. 모두 {crashes}번이다. gunicorn과 Celery가 다음
프로세스를 띄우고, 클라이언트는 같은 `Idempotency-Key`로 재시도하고, 스윕이 돈다. 그다음에는 이래야 한다.

- 모든 주문이 끝났고 `audit`이 깨끗하다.
- 잔액, 재고, 쿠폰, 주문이 딱 한 번 처리한 결과와 한 단위까지 같다.
- 재시도는 답을 받고, 한 번 더 재시도하면 같은 답을 `Idempotent-Replayed: true`와 함께 받는다.

죽은 프로세스는 아무 답도 하지 못하고, 예외가 난 요청은 500으로 답하며, 예외가 난 배치는 반으로 나눠 다시 한다.

이 테스트가 실패할 수 있다는 증거: 같은 흐름을 일부러 중간에 커밋하고 그 자리에서 죽이면 피해가 생기고 테스트가
그것을 찾아낸다. 아무도 지나지 않는 지점은 실패하고, 코드와 이 표 가운데 한쪽에만 있는 지점도 실패한다.
테스트 밖에는 지점이 없다. `SHOP_TESTING` 없이는 `SHOP_FAILPOINTS`를 거부한다.
""",
    "| # | 지점 | 때 | 죽었을 때 | 예외가 났을 때 |",
)
