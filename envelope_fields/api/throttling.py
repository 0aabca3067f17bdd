"""Rates of the API's own scopes, where the project sets them in `DEFAULT_THROTTLE_RATES`."""

from __future__ import annotations

from typing import Any

from rest_framework.settings import api_settings
from rest_framework.throttling import ScopedRateThrottle

READ = "envelope_fields.read"
CHANGE = "envelope_fields.change"
CENSUS = "envelope_fields.census"
DATA = "envelope_fields.data"


class OwnScope(ScopedRateThrottle):
    """Counts what is done in a scope; one without a rate is not limited."""

    # Not `throttle_scope`: the framework's class wants a rate for each scope that it meets.
    scope_attr = "own_throttle_scope"

    def get_rate(self) -> Any:
        rates: Any = api_settings.DEFAULT_THROTTLE_RATES
        return rates.get(self.scope)
