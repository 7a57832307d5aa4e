import assert from "node:assert/strict";
import { test } from "node:test";

import { Account } from "../src/account.js";
import { fakeEnvironment } from "./fakes.js";

function start(answers) {
  const asked = [];
  const { clock, environment } = fakeEnvironment({
    fetch: async (url, init) => {
      asked.push([url.replace("http://server", ""), init.body && JSON.parse(init.body), init.headers]);
      const { status = 200, headers = {}, ...body } = answers.shift();
      return new Response(JSON.stringify(body), { status, headers });
    },
  });
  return { clock, asked, account: new Account("http://server/", environment) };
}

const session = (token) => ({
  token,
  expires_in: 3600,
  refresh_token: `r-${token}`,
  user: { id: "u1", name: "방문객" },
});

test("a guest's token is renewed before it expires, and at once when refused", async () => {
  const { account, asked, clock } = start([session("one"), session("two"), session("three")]);
  await account.enterAsGuest("방문객");
  assert.equal(await account.token(), "one");
  await clock.advance(3_580_000);
  assert.equal(await account.token(), "two");
  assert.equal(await account.token(true), "three");
  assert.deepEqual(asked[1].slice(0, 2), ["/api/v1/auth/refresh", { refresh_token: "r-one" }]);
});

test("those who need a new token at the same time share one renewal", async () => {
  const { account, asked } = start([session("one"), session("two")]);
  await account.enterAsGuest("방문객");
  assert.deepEqual(await Promise.all([account.token(true), account.token(true)]), ["two", "two"]);
  assert.equal(asked.length, 2);
});

test("a reload resumes the same person", async () => {
  const { account, asked } = start([session("one")]);
  await account.resume({ refreshToken: "kept", user: { id: "u1", name: "방문객" } });
  assert.equal(asked[0][1].refresh_token, "kept");
  assert.deepEqual(account.remembered, { refreshToken: "r-one", user: { id: "u1", name: "방문객" } });
});

test("calls the API with its token", async () => {
  const { account, asked } = start([session("one"), { ok: true }]);
  await account.signIn("admin", "secret");
  await account.fetch("/api/v1/status");
  assert.equal(asked[1][2].Authorization, "Bearer one");
});

test("a refusal is permanent, a busy server is not", async () => {
  const { account } = start([
    { status: 401, title: "wrong" },
    { status: 429, headers: { "Retry-After": "3" } },
    { status: 503 },
  ]);
  await assert.rejects(account.signIn("a", "b"), { reason: "sign_in_failed", permanent: true, code: 401 });
  await assert.rejects(account.enterAsGuest("a"), { permanent: false, retryAfterMs: 3000 });
  await assert.rejects(account.enterAsGuest("a"), { reason: "unreachable", permanent: false });
});
