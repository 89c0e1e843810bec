"""
The catalogue of bad input as data: a row for each number (B1 … B188), sent over HTTP by config/tests/test_bad_input.py.

`general`, `accounts`, `money`, `orders` and `reads` hold the rows, `rows` says what a row is, `scene` makes what they
speak of (an order of somebody else, a spent coupon, a tampered token), `sending` sends them and judges the answers.
"""
