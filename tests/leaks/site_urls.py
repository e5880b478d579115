"""Views as a careless site writes them: each uses what the package hands out, and then breaks."""

import logging
import sys

from django.contrib import messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.auth.decorators import login_required
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection as database
from django.db import transaction
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from django_eprospera import documents, tasks, tokens
from django_eprospera.conf import conf
from django_eprospera.models import IdVerification, NaturalPerson, VerificationImage
from django_eprospera.provider import configured
from django_eprospera.provider.discovery import forget_discovered
from django_eprospera.provider.key_sets import forget_keys
from django_eprospera.sync import sync
from example_project.urls import urlpatterns as example


class Bug(Exception):
    pass


def agree(request):
    return HttpResponse("Do you agree?")


def forget(request):
    """As a process that has just started."""
    forget_discovered()
    forget_keys()
    return HttpResponse("forgotten")


@login_required
def token(request):
    value = tokens.access_token(request.user.eprospera)
    return HttpResponse(f"a token of {len(value)} characters")


@login_required
def token_then_bug(request):
    value = tokens.access_token(request.user.eprospera)
    raise Bug(f"with a token of {len(value)} characters in a local variable")


@login_required
def person_then_bug(request):
    connection = request.user.eprospera
    person = NaturalPerson.objects.get(connection=connection)
    check = IdVerification.objects.get(connection=connection)
    companies = [consent.entity for consent in connection.entity_consents.all()]
    raise Bug(f"after opening {bool(person.name and person.address and check.date and companies[0].display_name)}")


@login_required
def answer_then_bug(request):
    client, value = configured.client(), tokens.access_token(request.user.eprospera)
    person, companies, check = client.natural_person(value), client.legal_entities(value), client.id_verification(value)
    raise Bug(f"with {bool(person and companies and check)} answers in local variables")


@login_required
def ask(request):
    """Lets what the client raises go through."""
    return HttpResponse(type(configured.client().natural_person(tokens.access_token(request.user.eprospera))).__name__)


@login_required
def file(request):
    return HttpResponse(len(documents.read(VerificationImage.objects.filter(storage_name__gt="").first())))


@login_required
def synced_in_a_transaction(request):
    with transaction.atomic():
        sync(request.user.eprospera)
        raise Bug("after a sync")


@login_required
def enqueue(request):
    return HttpResponse(tasks.sync_connection.enqueue(str(request.user.eprospera.pk)).id)


@csrf_exempt
def plant(request):
    """Put what the test names into each place that it searches, by the means by which it would get there."""
    given = dict(request.POST.items())
    request.session["planted"] = given["session"]
    request.session.save()
    cache.set("planted", given["cache"])
    logging.getLogger("urllib3.connectionpool").debug("planted %s", given["log"])
    sys.stdout.write(given["stdout"] + "\n")
    sys.stdout.flush()
    LogEntry.objects.create(user_id=given["user"], content_type=ContentType.objects.first(), object_repr=given["admin history"],
                            action_flag=ADDITION)  # fmt: skip
    tasks.sync_connection.enqueue(given["task"])
    default_storage.save("planted.bin", ContentFile(given["media"].encode()))
    conf.EPROSPERA_SPOOL.mkdir(mode=0o700, exist_ok=True)
    (conf.EPROSPERA_SPOOL / "planted").write_text(given["spool"])
    with database.cursor() as cursor:
        cursor.execute("SELECT CAST(%s AS text)", [given["SQL"]])
    messages.info(request, given["cookie"])
    if "page" not in given:
        return HttpResponse("planted")
    local = given["page"][::-1]  # so that it is found as a local variable, not as a parameter
    raise Bug(len(local))


urlpatterns = [
    *example,
    path("leaks/agree/", agree),
    path("leaks/forget/", forget),
    path("leaks/token/", token),
    path("leaks/token-then-bug/", token_then_bug),
    path("leaks/person-then-bug/", person_then_bug),
    path("leaks/answer-then-bug/", answer_then_bug),
    path("leaks/ask/", ask),
    path("leaks/file/", file),
    path("leaks/sync-in-a-transaction/", synced_in_a_transaction),
    path("leaks/enqueue/", enqueue),
    path("leaks/plant/", plant),
]
