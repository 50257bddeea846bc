// Judges tokens with `jose`, by the published key set: an implementation that shares nothing with ours.
import { readFileSync } from "node:fs";
import { createLocalJWKSet, importSPKI, jwtVerify } from "jose";

const { keys, pem, algorithm, questions } = JSON.parse(readFileSync(0, "utf8"));
const published = createLocalJWKSet(keys);
const pinned = pem ? await importSPKI(pem, algorithm) : null;

const verdicts = [];
for (const { token, type, at, audience, by } of questions) {
  const options = { typ: type, currentDate: new Date(at * 1000), ...(audience ? { audience } : {}) };
  try {
    const { payload } = await jwtVerify(token, by === "pem" ? pinned : published, options);
    verdicts.push({ claims: payload });
  } catch (error) {
    verdicts.push({ refused: error.code, claim: error.claim ?? null });
  }
}
console.log(JSON.stringify(verdicts));
