"""Numbers as a person reads them; the exact value is for the hover text."""

import math

_SIZES = ("B", "kB", "MB", "GB", "TB")


def value(number: float | None, digits: int = 4) -> str:
    """Return a metric with `digits` significant figures: 0.8784, 12.31, 1.2e-05, or – for None."""
    if number is None:
        return "–"
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("∞" if number > 0 else "−∞")
    if number == 0:
        return "0"
    if not 1e-4 <= abs(number) < 1e6:
        mantissa, exponent = f"{number:.{min(digits, 3) - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    if float(number).is_integer() and abs(number) >= 10 ** (digits - 1):
        return f"{int(number):,}".replace("-", "−")
    places = max(0, digits - 1 - math.floor(math.log10(abs(number)))) if abs(number) >= 1 else digits
    return f"{number:,.{places}f}".replace("-", "−")


def exact(number: float | None) -> str:
    """Return the number with every digit that it has."""
    return "–" if number is None else repr(number)


def count(number: float) -> str:
    """Return a count: 67,349 below a million, then 22.7 M, 6.74 B."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(number) >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{round(number):,}"


def size(n_bytes: float) -> str:
    """Return a size in decimal units: 412 B, 91.6 MB, 1.3 GB."""
    power = 0
    while abs(n_bytes) >= 999.5 and power < len(_SIZES) - 1:
        n_bytes, power = n_bytes / 1000, power + 1
    if power == 0:
        return f"{round(n_bytes)} B"
    return f"{n_bytes:.0f} {_SIZES[power]}" if n_bytes >= 100 else f"{n_bytes:.1f} {_SIZES[power]}"


def duration(seconds: float | None) -> str:
    """Return a span of time: 8 s, 4 min 10 s, 2 h 05 min, 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"


def percent(share: float, places: int = 1) -> str:
    """Return a share of one in percent: 1.3 %."""
    return "–" if not math.isfinite(share) else f"{100 * share:.{places}f} %"
