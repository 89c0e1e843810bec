"""
`make fuzz`: thousands of requests that schemathesis makes from our OpenAPI document, against a shop of their own.

`running` starts it and counts, `hooks` knows the shop where the document cannot tell, `schemathesis.toml` says what is
asked of every answer.
"""
