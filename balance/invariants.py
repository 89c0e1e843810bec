"""What must hold in the ledger by itself; what ties it to orders stands in orders."""

from shop.invariants import append_only, invariant

append_only("balance_transfer", "transfer_append_only")


@invariant("M1", "a wallet's balance is the sum of its transfers")
def balances() -> str:
    return """
        WITH entry AS (
            SELECT credit_account_id AS account_id, amount AS change FROM balance_transfer
            UNION ALL SELECT debit_account_id, -amount FROM balance_transfer
        ), total AS (SELECT account_id, sum(change) AS transfers FROM entry GROUP BY account_id)
        SELECT account_id, balance, coalesce(transfers, 0) AS transfers
        FROM balance_wallet LEFT JOIN total USING (account_id) WHERE balance <> coalesce(transfers, 0)
        ORDER BY account_id
    """


@invariant("M2", "balance_after runs on without a gap and never below zero")
def running_balances() -> str:
    # A lost update shows here and not in M1, when both writers wrote the same balance.
    return """
        WITH entry AS (
            SELECT id, credit_account_id AS account_id, amount AS change, balance_after FROM balance_transfer
            UNION ALL SELECT id, debit_account_id, -amount, balance_after FROM balance_transfer
        ), running AS (
            SELECT entry.*, sum(change) OVER (PARTITION BY account_id ORDER BY id) AS balance
            FROM entry JOIN balance_wallet USING (account_id)
        )
        SELECT id AS transfer_id, account_id, balance_after, balance AS should_be FROM running
        WHERE balance <> balance_after OR balance < 0 ORDER BY id
    """


@invariant("M3", "a transfer's kind decides which accounts it touches")
def account_kinds() -> str:
    return """
        SELECT t.id AS transfer_id, t.kind, d.kind AS debit, c.kind AS credit
        FROM balance_transfer t
        LEFT JOIN balance_account d ON d.id = debit_account_id LEFT JOIN balance_account c ON c.id = credit_account_id
        WHERE (t.kind, coalesce(d.kind, ''), coalesce(c.kind, '')) NOT IN (
            ('charge', 'house_cash', 'wallet'), ('payment', 'wallet', 'house_revenue'),
            ('refund', 'house_revenue', 'wallet'),
            ('adjustment', 'house_cash', 'wallet'), ('adjustment', 'wallet', 'house_cash')
        ) ORDER BY t.id
    """


@invariant("M7", "every adjustment has its operator, action and reason written down")
def adjustments() -> str:
    # Those made before the trail was introduced have none.
    return """
        SELECT t.id AS transfer_id FROM balance_transfer t
        LEFT JOIN shop_operatoraction a ON a.action = 'balance.adjust' AND a.object_type = 'balance.transfer'
                                       AND a.object_id = t.id AND abs(a.amount) = t.amount AND a.reason = t.reason
        WHERE t.kind = 'adjustment' AND a.id IS NULL AND t.created_at >=
              (SELECT applied FROM django_migrations WHERE app = 'shop' AND name = '0005_operator_action')
        ORDER BY t.id
    """


@invariant("M6", "wallet accounts have a wallet, house accounts have none and are there")
def accounts() -> str:
    return """
        SELECT coalesce(a.id, w.account_id) AS account_id, a.kind FROM balance_account a
        FULL JOIN balance_wallet w ON w.account_id = a.id
        WHERE a.id IS NULL OR (a.kind = 'wallet') <> (w.account_id IS NOT NULL)
        UNION ALL
        SELECT id, kind FROM (VALUES (1, 'house_cash'), (2, 'house_revenue')) house (id, kind)
        WHERE (id, kind) NOT IN (SELECT id, kind FROM balance_account WHERE id IN (1, 2))
    """
