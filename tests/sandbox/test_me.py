"""Tests of userinfo, the me/ endpoints and files, for each persona, against the schemas of the contract."""

from __future__ import annotations

import io

import pytest
import requests
from PIL import Image

from tests.sandbox.contract import conforms, document
from tests.sandbox_process import (
    ALL_SCOPES,
    ANA,
    JOSE,
    KITES,
    LANTERNS,
    LARS,
    LUCIA,
    MIRJAM,
    NADIA,
    ORCHARD,
    OTTO,
    PAPER,
    REEF,
    ROBIN,
    SAMUEL,
    TEO,
    WULANDARI,
)  # fmt: skip

PERSONAS = [LUCIA, SAMUEL, MIRJAM, OTTO, NADIA, TEO, ANA, JOSE, WULANDARI, ROBIN, LARS]
PERSON = "/api/v1/me/natural-person"
ENTITIES = "/api/v1/me/legal-entities"
NEEDS = {
    PERSON: "eprospera:person.details.read",
    f"{PERSON}/residency": "eprospera:person.residency.read",
    f"{PERSON}/id-verification": "eprospera:person.id_verification.read",
    f"{PERSON}/id_verification": "eprospera:person.id_verification.read",
    ENTITIES: "eprospera:entity.read",
    f"{ENTITIES}/{KITES}": "eprospera:entity.read",
    f"{ENTITIES}/{KITES}/documents": "eprospera:entity.documents.read",
}


def body(sandbox, path, sub=LUCIA, scopes=ALL_SCOPES):
    response = sandbox.get(path, sandbox.mint(sub, scopes=scopes)[0]["access_token"])
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("sub", PERSONAS)
def test_every_response_for_every_persona_conforms_to_the_contract(sandbox, sub):
    assert conforms("Userinfo", body(sandbox, "/api/oauth/userinfo", sub))
    assert conforms("NaturalPerson", body(sandbox, PERSON, sub))
    assert conforms("Residency", body(sandbox, f"{PERSON}/residency", sub))
    assert conforms("IdVerification", body(sandbox, f"{PERSON}/id-verification", sub))
    entities = body(sandbox, ENTITIES, sub)
    assert conforms("LegalEntityList", entities)
    for entity in entities["data"]:
        assert conforms("LegalEntityEnvelope", body(sandbox, f"{ENTITIES}/{entity['id']}", sub))
        assert conforms("DocumentList", body(sandbox, f"{ENTITIES}/{entity['id']}/documents", sub))


def test_metadata_keys_and_tokens_conform_to_the_contract(sandbox):
    for path in ("/.well-known/openid-configuration", "/api/oauth/.well-known/openid-configuration"):
        assert conforms("OpenidConfiguration", sandbox.get(path).json())
    for path in ("/api/oauth/.well-known/jwks.json", "/.well-known/jwks.json"):
        assert conforms("Jwks", sandbox.get(path).json())
    tokens = sandbox.sign_in()
    assert conforms("TokenResponse", tokens)
    assert conforms("TokenResponse", sandbox.refresh(tokens["refresh_token"]).json())
    assert conforms("Introspection", sandbox.back_channel("introspect", token=tokens["access_token"]).json())
    assert conforms("Introspection", {"active": False})


def test_the_metadata_names_every_path_of_the_contract_and_each_of_them_exists(sandbox):
    metadata = sandbox.get("/.well-known/openid-configuration").json()
    assert metadata["issuer"] == sandbox.url
    paths = document()["paths"]
    named = {
        value.removeprefix(sandbox.url) for name, value in metadata.items() if name.endswith(("_endpoint", "_uri"))
    }
    assert named - {"/api/oauth/device_authorization"} <= set(paths)
    for path in paths:
        assert sandbox.get(path.replace("{id}", KITES)).status_code != 404


def test_the_personas_are_different_cases(sandbox):
    residencies = {sub: body(sandbox, f"{PERSON}/residency", sub) for sub in PERSONAS}
    active = {sub: residency["activeResidency"] for sub, residency in residencies.items()}
    assert {each["residencyType"] for each in active.values() if each} == {
        "Resident",
        "e-Resident",
        "Limited e-Resident",
    }
    assert active[MIRJAM]["terminationDate"].startswith("2035")
    assert active[LARS]["terminationDate"] < "2026"
    assert (active[OTTO], residencies[OTTO]["wasEverResident"]) == (None, True)
    assert (active[NADIA], residencies[NADIA]["wasEverResident"]) == (None, False)
    assert body(sandbox, PERSON, NADIA) is None
    teo = body(sandbox, PERSON, TEO)
    assert {name for name, value in teo.items() if value is None} == {
        "residentPermitNumber", "countryOfBirth", "dateOfBirth", "sex", "address", "phoneNumber",
    }  # fmt: skip
    assert body(sandbox, PERSON, WULANDARI)["surname"] == ""
    assert body(sandbox, PERSON, JOSE)["surname"] == "Ñandú-Müller"
    assert "<script>" in body(sandbox, PERSON, ROBIN)["address"]["line1"]


def test_companies_of_the_personas(sandbox):
    shared = {sub: [entity["id"] for entity in body(sandbox, ENTITIES, sub)["data"]] for sub in PERSONAS}
    assert shared[LUCIA] == [KITES, REEF, LANTERNS]
    assert shared[SAMUEL] == [KITES]
    assert shared[TEO] == shared[ROBIN] == [ORCHARD]
    assert shared[OTTO] == [PAPER]
    assert shared[ANA] == []
    assert body(sandbox, f"{ENTITIES}/{PAPER}", OTTO)["data"]["dissolutionDate"] is not None
    orchard = body(sandbox, f"{ENTITIES}/{ORCHARD}", TEO)["data"]
    assert {name for name, value in orchard.items() if value is None} == {
        "residentPermitNumber", "formationDate", "registrationDate", "dissolutionDate", "principalOfficeAddress",
    }  # fmt: skip


def test_the_list_has_the_seven_fields_and_the_detail_all(sandbox):
    token = sandbox.mint()[0]["access_token"]
    assert len(sandbox.get(ENTITIES, token).json()["data"][0]) == 7
    assert len(sandbox.get(f"{ENTITIES}/{KITES}", token).json()["data"]) == 12


def test_userinfo_has_the_claims_of_the_scopes_by_get_and_post(sandbox):
    url = f"{sandbox.url}/api/oauth/userinfo"
    for scopes, names in {
        "openid": {"sub"},
        "openid email": {"sub", "email", "email_verified"},
        "openid profile": {"sub", "name", "given_name", "family_name", "picture"},
    }.items():
        headers = {"Authorization": f"Bearer {sandbox.mint(scopes=scopes)[0]['access_token']}"}
        for response in (requests.get(url, headers=headers), requests.post(url, headers=headers)):
            assert set(response.json()) == names


def test_empty_claims_are_absent_or_null(sandbox):
    assert "email" not in body(sandbox, "/api/oauth/userinfo", TEO)
    assert "family_name" not in body(sandbox, "/api/oauth/userinfo", WULANDARI)
    sandbox.control("switches", empty_claims="null")
    assert body(sandbox, "/api/oauth/userinfo", TEO)["email"] is None
    assert body(sandbox, "/api/oauth/userinfo", SAMUEL)["email_verified"] is False


@pytest.mark.parametrize("path", ["/api/oauth/userinfo", *NEEDS])
def test_a_missing_or_invalid_token_is_401(sandbox, path):
    for headers in ({}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer"}):
        response = requests.get(sandbox.url + path, headers=headers)
        assert (response.status_code, response.json()) == (401, {"error": "missing_token"})
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    expired = sandbox.mint(access_token_expires_in=0)[0]["access_token"]
    good = sandbox.mint()[0]
    for token in ("nonsense", expired, good["refresh_token"], good["access_token"][:-2]):
        response = sandbox.get(path, token)
        assert (response.status_code, response.json()) == (401, {"error": "invalid_token"})
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert requests.get(f"{sandbox.url}{path}?access_token={good['access_token']}").status_code == 401


@pytest.mark.parametrize(("path", "scope"), NEEDS.items())
def test_a_token_without_the_scope_is_forbidden_in_the_newer_or_the_older_way(sandbox, path, scope):
    others = " ".join(other for other in ALL_SCOPES.split() if other != scope)
    token = sandbox.mint(scopes=others)[0]["access_token"]
    for status in (403, 401):
        sandbox.control("switches", missing_scope_status=status)
        response = sandbox.get(path, token)
        assert (response.status_code, response.json()) == (status, {"error": f"missing_scopes: {scope}"})
        assert scope in response.headers["WWW-Authenticate"]
    assert sandbox.get(path, sandbox.mint(scopes=scope)[0]["access_token"]).status_code == 200


def test_userinfo_without_openid_is_forbidden(sandbox):
    response = sandbox.get("/api/oauth/userinfo", sandbox.mint(scopes="email")[0]["access_token"])
    assert (response.status_code, response.json()) == (403, {"error": "insufficient_scope"})


@pytest.mark.parametrize("path", ["/api/oauth/userinfo", *NEEDS])
def test_a_standard_key_is_refused_with_a_challenge(sandbox, path):
    response = sandbox.get(path, "sk-0123456789")
    assert response.status_code == 403
    assert response.json() == {"error": "Standard API keys are not supported on this endpoint"}
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_unknown_not_consented_and_no_longer_represented_entities_look_alike(sandbox):
    token = sandbox.mint(entities=[KITES, LANTERNS])[0]["access_token"]
    sandbox.control("represent", sub=LUCIA, entity=LANTERNS, active=False)
    for entity in (REEF, ORCHARD, LANTERNS, "00000000-0000-4000-8000-000000000000", "nonsense"):
        for suffix in ("", "/documents"):
            response = sandbox.get(f"{ENTITIES}/{entity}{suffix}", token)
            assert (response.status_code, response.json()) == (404, {"error": "Legal entity not found"})


def test_a_lost_representation_hides_the_entity_and_leaves_the_token(sandbox):
    token = sandbox.mint()[0]["access_token"]
    sandbox.control("represent", sub=LUCIA, entity=KITES, active=False)
    assert KITES not in [entity["id"] for entity in sandbox.get(ENTITIES, token).json()["data"]]
    assert sandbox.get(f"{ENTITIES}/{KITES}", token).status_code == 404
    assert sandbox.get(f"{ENTITIES}/{REEF}", token).status_code == 200
    samuel = sandbox.mint(SAMUEL)[0]["access_token"]
    assert sandbox.get(f"{ENTITIES}/{KITES}", samuel).status_code == 200
    sandbox.control("represent", sub=LUCIA, entity=KITES, active=True)
    assert sandbox.get(f"{ENTITIES}/{KITES}", token).status_code == 200


@pytest.mark.parametrize("path", ["/api/oauth/userinfo", *NEEDS])
def test_head_answers_like_get_without_a_body(sandbox, path):
    headers = {"Authorization": f"Bearer {sandbox.mint()[0]['access_token']}"}
    with requests.Session() as session:
        head = session.head(sandbox.url + path, headers=headers)
        get = session.get(sandbox.url + path, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Cache-Control"):
        assert head.headers[name] == get.headers[name]
    assert requests.head(sandbox.url + path).status_code == 401


def test_dates_and_sex_can_take_their_older_forms(sandbox):
    assert body(sandbox, PERSON)["dateOfBirth"] == "1988-02-29T00:00:00.000Z"
    sandbox.control("switches", dates="date", sex="long")
    assert body(sandbox, PERSON)["dateOfBirth"] == "1988-02-29"
    assert body(sandbox, PERSON)["sex"] == "Female"
    assert body(sandbox, f"{ENTITIES}/{KITES}")["data"]["formationDate"] == "2024-05-06"
    assert conforms("TolerantNaturalPerson", body(sandbox, PERSON))


# Files


def test_identity_images_are_real_and_need_no_token(sandbox):
    documents = body(sandbox, f"{PERSON}/id-verification")["documents"]
    for url in documents.values():
        response = requests.get(url)
        assert response.headers["Content-Type"] == "image/jpeg"
        image = Image.open(io.BytesIO(response.content))
        image.load()
        assert min(image.size) >= 600
        assert requests.get(url).content == response.content


def test_a_document_without_a_back_and_a_person_without_a_check(sandbox):
    documents = body(sandbox, f"{PERSON}/id-verification", ANA)["documents"]
    assert documents["documentBack"] is None
    assert documents["documentFront"]
    none = {"id": None, "type": None, "documentType": None, "date": None, "status": None}
    none["documents"] = {"documentFront": None, "documentBack": None, "face": None}
    for sub in (NADIA, TEO):
        assert body(sandbox, f"{PERSON}/id-verification", sub) == none


def test_company_documents_are_pdfs_and_one_has_no_file(sandbox):
    documents = body(sandbox, f"{ENTITIES}/{KITES}/documents")["data"]
    assert len({document["id"] for document in documents}) == 3
    for document_ in documents:
        response = requests.get(document_["fileUrl"])
        assert response.headers["Content-Type"] == "application/pdf"
        assert response.content.startswith(b"%PDF-")
    assert [document_["fileUrl"] for document_ in body(sandbox, f"{ENTITIES}/{REEF}/documents")["data"]][1] is None
    assert body(sandbox, f"{ENTITIES}/{ORCHARD}/documents", TEO) == {"data": []}


def test_file_urls_expire_and_cannot_be_altered(sandbox):
    url = body(sandbox, f"{PERSON}/id-verification")["documents"]["face"]
    assert requests.get(url).status_code == 200
    expires = url.partition("expires=")[2].partition("&")[0]
    for altered in (
        url.replace(LUCIA, ANA), url.replace("-face", "-front"), url.replace(expires, str(int(expires) + 60)), url[:-1] + "x",
        url.partition("?")[0],
    ):  # fmt: skip
        assert requests.get(altered).status_code == 403
    sandbox.control("switches", file_url_seconds=-1)
    expired = requests.get(body(sandbox, f"{PERSON}/id-verification")["documents"]["face"])
    assert (expired.status_code, expired.json()) == (403, {"error": "This URL has expired"})


def test_the_picture_is_public_and_stable(sandbox):
    urls = {body(sandbox, "/api/oauth/userinfo", sub)["picture"] for sub in PERSONAS}
    assert len(urls) == len({requests.get(url).content for url in urls}) == len(PERSONAS)
    assert requests.get(f"{sandbox.url}/pictures/nobody.jpg").status_code == 404
