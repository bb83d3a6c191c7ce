"""Fills a fresh Keystone: seed.py V3URL. Prints the projects' ids as KEYSTONE_NAME=ID."""
import sys

import requests

url = sys.argv[1]
s = requests.Session()
s.trust_env = False
r = s.post(url + "/auth/tokens", json={"auth": {
    "identity": {"methods": ["password"], "password": {"user": {
        "name": "admin", "domain": {"id": "default"}, "password": "admin-pass"}}},
    "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}})
r.raise_for_status()
s.headers["X-Auth-Token"] = r.headers["X-Subject-Token"]


def ensure(kind, name, **more):
    got = s.get(f"{url}/{kind}s", params={"name": name}).json()[kind + "s"]
    if got:
        return got[0]["id"]
    body = {"name": name, **more}
    if kind != "role":
        body["domain_id"] = "default"
    r = s.post(f"{url}/{kind}s", json={kind: body})
    r.raise_for_status()
    return r.json()[kind]["id"]


projects = {p: ensure("project", p) for p in ("service", "demo", "other")}
roles = {r: ensure("role", r) for r in ("admin", "member", "reader", "service")}
for user, project, granted in (
        ("demo", "demo", ["member", "reader"]), ("other", "other", ["member", "reader"]), ("zaqar", "service", ["admin", "service"])):
    uid = ensure("user", user, password=user + "-pass")
    for role in granted:
        s.put(f"{url}/projects/{projects[project]}/users/{uid}/roles/{roles[role]}").raise_for_status()
for name in ("demo", "other"):
    print(f"KEYSTONE_{name.upper()}={projects[name]}")
