"""The unmodified client of OpenAI against the program."""

import base64
import json
import urllib.request

import openai
import pytest
import requests

PICTURES = {b"\x89PNG", b"\xff\xd8\xff\xe0", b"RIFF"}


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server}/v1", api_key="none", timeout=120)


def bytes_of(image):
    picture = base64.b64decode(image.b64_json)
    assert picture[:4] in PICTURES
    return picture


def test_models(client):
    assert [model.id for model in client.models.list()]
    # A name that the client has built in is answered, too.
    assert client.models.retrieve("gpt-image-1").object == "model"


def test_pictures_in_number_and_size(client):
    answer = client.images.generate(model="gpt-image-1", prompt="an astronaut", n=2, size="auto", extra_body={"seed": 7})
    assert len({bytes_of(image) for image in answer.data}) == 2
    width, height = map(int, answer.size.split("x"))
    assert width and height
    # Alone: beside another, a colour may differ by one step.
    alone = [client.images.generate(prompt="an astronaut", size=answer.size, extra_body={"seed": 7}) for _ in range(2)]
    assert bytes_of(alone[0].data[0]) == bytes_of(alone[1].data[0]), "the same seed, the same picture"


def test_a_link_can_be_read_without_a_key(client):
    answer = client.images.generate(prompt="a king", response_format="url")
    with urllib.request.urlopen(answer.data[0].url) as picture:
        assert picture.read(4) in PICTURES


def test_a_selfie_is_used_once(client, selfie, consent):
    with open(selfie, "rb") as photo:
        answer = client.images.edit(image=photo, prompt="a chef", extra_body={"consent": json.dumps(consent)})
    assert bytes_of(answer.data[0])
    with pytest.raises(openai.UnprocessableEntityError) as refused, open(selfie, "rb") as photo:
        client.images.edit(image=[photo], prompt="a chef")
    assert refused.value.code == "consent_required"


def test_an_enrolled_person(client, server, selfie, consent):
    fields = {"name": "Eileen", "consent": json.dumps(consent)}
    with open(selfie, "rb") as photo:
        made = requests.post(f"{server}/v1/people", data=fields, files={"photo": photo}, timeout=60)
    assert made.status_code == 201, made.text
    person = made.json()["id"]
    answer = client.images.generate(prompt="a pirate", extra_body={"person": person})
    assert bytes_of(answer.data[0])
    gone = requests.delete(f"{server}/v1/people/{person}?pictures=delete").json()
    assert gone["removed"]["pictures"] == 1


def test_streams_with_previews(client):
    stream = client.images.generate(prompt="a knight", stream=True, partial_images=2)
    kinds = [event.type for event in stream]
    assert kinds[-1] == "image_generation.completed"
    assert 0 < kinds.count("image_generation.partial_image") <= 2


def test_errors_are_read(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="x", n=1, size="1x1")
    assert (refused.value.param, refused.value.type) == ("size", "invalid_request_error")
    assert refused.value.request_id
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt="x", model="nobody")
    assert refused.value.code == "model_not_found"


def test_a_retry_is_not_drawn_again(client, server):
    body = {"prompt": "a diver"}
    send = lambda count: requests.post(
        f"{server}/v1/images/generations", json=body, headers={"x-stainless-retry-count": count}, timeout=120
    ).json()["job"]
    first = send("0")
    assert send("1") == first
