import pytest
from fastapi.testclient import TestClient


def test_a_collection_is_made_renamed_binned_and_restored(client: TestClient):
    made = client.post("/api/v1/collections", json={"name": " Letters of Anna "}).json()
    assert made["name"] == "Letters of Anna"
    place = f"/api/v1/collections/{made['id']}"
    assert client.patch(place, json={"name": "Letters"}).json()["name"] == "Letters"
    assert client.delete(place).status_code == 204
    assert client.get("/api/v1/collections").json()["items"] == []
    assert client.patch(place, json={"name": "x"}).status_code == 404
    assert client.post(f"{place}/restore").status_code == 204
    assert [item["name"] for item in client.get("/api/v1/collections").json()["items"]] == ["Letters"]


def test_collections_are_listed_in_parts(client: TestClient):
    for name in "abc":
        client.post("/api/v1/collections", json={"name": name})
    first = client.get("/api/v1/collections", params={"limit": 2}).json()
    assert [item["name"] for item in first["items"]] == ["a", "b"]
    rest = client.get("/api/v1/collections", params={"limit": 2, "after": first["next"]}).json()
    assert [item["name"] for item in rest["items"]] == ["c"]
    assert rest["next"] is None


def test_options_that_do_not_exist_are_refused_with_a_suggestion(client: TestClient):
    made = client.post("/api/v1/collections", json={"name": "a"}).json()
    answer = client.patch(f"/api/v1/collections/{made['id']}", json={"settings": {"options": {"lmm": ["fr"]}}})
    assert answer.status_code == 400
    assert "did you mean 'lm'" in answer.json()["detail"]


@pytest.mark.parametrize("value", ["NaN", "-Infinity", r'"\ud800"', r'{"\udfff": 1}'])
def test_settings_that_no_answer_could_hold_are_refused(client: TestClient, collection: int, value: str):
    place, headers = f"/api/v1/collections/{collection}", {"Content-Type": "application/json"}
    content = f'{{"settings": {{"page": {value}}}}}'
    assert client.patch(place, content=content, headers=headers).status_code in (400, 422)
    assert client.get(place).json()["settings"] == {}
