// A certified OpenID provider on loopback: `node openid_provider.mjs FOLDER PORT REDIRECT_URI`.
// Says "ready" once it listens. Everybody is let in under the name they give.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, port, redirect] = process.argv.slice(2);
const found = createRequire(`${folder}/package.json`).resolve("oidc-provider");
const { default: Provider } = await import(pathToFileURL(found));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "metaport",
      client_secret: "a secret of / the client",
      redirect_uris: [redirect],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  pkce: { required: () => true, methods: ["S256"] },
  cookies: { keys: ["of this run only"] },
  claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `${id}\u0000 님`,
      email: `${id}@example.kr`,
      email_verified: id !== "unverified",
    }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
