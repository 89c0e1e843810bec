"""Reports of the ledger."""

from shop.reports import report


@report("ledger", "money out of and into each kind of account, and by kind of transfer; debits = credits")
def ledger() -> str:
    # Summed by kinds before both sides are told apart: millions of transfers become a dozen rows in one pass.
    # `balance` is what the accounts of a kind hold at the end of the range: all credits less all debits until then.
    return """
        WITH moved AS (
            SELECT t.kind, d.kind AS debited, c.kind AS credited, t.created_at >= %(from)s AS is_in,
                   count(*) AS transfers, sum(amount) AS amount
            FROM balance_transfer t
            JOIN balance_account d ON d.id = debit_account_id JOIN balance_account c ON c.id = credit_account_id
            WHERE t.created_at < %(to)s GROUP BY 1, 2, 3, 4
        ), entry AS (
            SELECT debited AS account, kind, transfers, amount AS debit, 0 AS credit, is_in FROM moved
            UNION ALL SELECT credited, kind, transfers, 0, amount, is_in FROM moved
        ), summed AS (
            SELECT CASE WHEN grouping(account) = 0 THEN 'account' WHEN grouping(kind) = 0 THEN 'transfer'
                        ELSE 'total' END AS by,
                   coalesce(account, kind, '') AS kind, sum(transfers) FILTER (WHERE is_in) AS entries,
                   sum(debit) FILTER (WHERE is_in) AS debits, sum(credit) FILTER (WHERE is_in) AS credits,
                   sum(credit - debit) AS balance
            FROM entry GROUP BY GROUPING SETS ((account), (kind), ())
        )
        SELECT by, kind, coalesce(entries, 0) AS entries, coalesce(debits, 0) AS debits,
               coalesce(credits, 0) AS credits, coalesce(balance, 0) AS balance
        FROM summed ORDER BY by = 'total', by, kind
    """
