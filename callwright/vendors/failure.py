"""A vendor's failure as a line for the user."""

from __future__ import annotations


def next_step(stage: str, vendor: str, category: str, key: str) -> str:
    """The failure in one line, without the vendor's own words: those may quote the caller's."""
    what = {
        "authentication": f"refused the key; check {key}",
        "authorization": f"says that the key may not do this; check the plan behind {key}",
        "quota": f"says that the account behind {key} has no credit left",
        "rate_limit": "limits the rate of requests; try again, or raise the plan's limit",
        "invalid_request": "refused the request; run 'callwright doctor' with the same configuration",
        "server": "has a failure of its own; try again, or configure another vendor",
        "connectivity": "cannot be reached; check the network and the stage's base_url",
        "timeout": "did not answer in time; try again, or configure another vendor",
    }.get(category, f"failed ({category}); run 'callwright doctor' with the same configuration")
    return f"{stage}: {vendor} {what}"
