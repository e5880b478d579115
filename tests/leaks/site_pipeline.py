"""Steps that a site might put into its pipeline: one that asks something first, and one with a bug."""

from django.shortcuts import redirect
from social_core.pipeline.partial import partial


@partial
def pause(strategy, backend, response, *args, **kwargs):
    """Pauses when the browser asks for it, as a step does that wants the person to agree to something."""
    if strategy.request.COOKIES.get("pause") and not strategy.request_data().get("agreed"):
        return redirect("/leaks/agree/")
    return {}


def fail(strategy, response, details, *args, **kwargs):
    """Breaks when the browser asks for it, with the person's data within reach."""
    if strategy.request.COOKIES.get("fail"):
        raise RuntimeError("a bug of the site")
