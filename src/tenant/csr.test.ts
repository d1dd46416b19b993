import { webcrypto } from "node:crypto";
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  type Extension,
  type JsonGeneralName,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from "@peculiar/x509";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type AdmittedNode, csrVerdict, KUBELET_CLIENT, KUBELET_SERVING, parseRequest, type SigningRequest } from "./csr.ts";

const EC = { name: "ECDSA", namedCurve: "P-256" } as const;
const SUBJECT = "O=system:nodes, CN=system:node:bios-1";
const BIOS: AdmittedNode = { claim: "c1", claimUid: "u1", nodeName: "bios-1", addresses: ["10.77.0.11", "fd00::b"], tokenId: "abcdef" };
const UEFI: AdmittedNode = { claim: "c2", claimUid: "u2", nodeName: "uefi-1", addresses: ["10.77.0.12"], tokenId: "uvwxyz" };
const ADMITTED = [BIOS, UEFI];

const CLIENT: Omit<SigningRequest, "pem"> = {
  signer: KUBELET_CLIENT,
  username: "system:bootstrap:abcdef",
  groups: ["system:bootstrappers", "system:bootstrappers:ironwright", "system:authenticated"],
  usages: ["digital signature", "client auth"],
};
const RENEWAL = { ...CLIENT, username: "system:node:bios-1", groups: ["system:nodes", "system:authenticated"] };
const SERVING = { ...RENEWAL, signer: KUBELET_SERVING, usages: ["digital signature", "server auth"] };
const NAMES: JsonGeneralName[] = [
  { type: "dns", value: "bios-1" },
  { type: "ip", value: "10.77.0.11" },
];

let keys: webcrypto.CryptoKeyPair;
let otherKeys: webcrypto.CryptoKeyPair;
let client: string;
let serving: string;

beforeAll(async () => {
  keys = await makeKeys(EC);
  otherKeys = await makeKeys(EC);
  client = await pem(SUBJECT);
  serving = await pem(SUBJECT, [san(NAMES)]);
});

describe("what a kubelet asks is approved", () => {
  test("its first certificate, by the claim's own token", async () => {
    const { verdict, ...rest } = await decide(CLIENT, client);
    expect({ verdict, ...rest }).toMatchObject({ verdict: "approve", first: true, node: { claim: "c1" } });
  });
  test("the same key again by the same token: the kubelet restarted meanwhile", async () => {
    const first = await decide(CLIENT, client);
    const key = first.verdict === "approve" ? first.key : "";
    expect(await decide(CLIENT, client, [{ ...BIOS, firstKey: key }])).toMatchObject({ verdict: "approve" });
  });
  test("its renewal, by the node itself, when the token is long gone", async () => {
    const { tokenId: _, ...joined } = BIOS;
    expect(await decide(RENEWAL, client, [joined])).toMatchObject({ verdict: "approve", first: false });
  });
  test("its serving certificate", async () => {
    expect(await decide(SERVING, serving)).toMatchObject({ verdict: "approve" });
  });
  test("its serving certificate with both addresses, however IPv6 is spelt", async () => {
    const names: JsonGeneralName[] = [...NAMES, { type: "ip", value: "fd00:0:0::000b" }];
    expect(await decide(SERVING, await pem(SUBJECT, [san(names)]))).toMatchObject({ verdict: "approve" });
  });
  test.each(["kubernetes.io/kube-apiserver-client", "kubernetes.io/legacy-unknown", "example.com/own"])(
    "%s is not ours",
    async (signer) => {
      expect(await decide({ ...CLIENT, signer }, client)).toEqual({ verdict: "not ours" });
    },
  );
});

describe("who asks", () => {
  const rows: [string, Partial<SigningRequest>, string][] = [
    ["another claim's token", { username: "system:bootstrap:uvwxyz" }, "RequestorNotTheClaims"],
    ["a token nobody minted", { username: "system:bootstrap:000000" }, "RequestorNotTheClaims"],
    ["the token's name without its group", { groups: ["system:authenticated"] }, "RequestorNotToken"],
    ["another node", { ...RENEWAL, username: "system:node:uefi-1" }, "RequestorNotTheClaims"],
    ["the node's name without its group", { ...RENEWAL, groups: ["system:authenticated"] }, "RequestorNotNode"],
    ["an admin", { username: "admin", groups: ["system:masters"] }, "RequestorNotTheClaims"],
    ["nobody", { username: "" }, "RequestorNotTheClaims"],
    ["anonymous", { username: "system:anonymous", groups: ["system:unauthenticated"] }, "RequestorNotTheClaims"],
    ["a service account", { username: "system:serviceaccount:kube-system:default" }, "RequestorNotTheClaims"],
    ["the token's id with a tail", { username: "system:bootstrap:abcdef0" }, "RequestorNotTheClaims"],
    ["the bare prefix", { username: "system:bootstrap:" }, "RequestorNotTheClaims"],
  ];
  test.each(rows)("%s is denied", async (_, change, reason) => {
    expect(await decide({ ...CLIENT, ...change }, client)).toMatchObject({ verdict: "deny", reason });
  });

  test("a token that was used for another key", async () => {
    expect(await decide(CLIENT, client, [{ ...BIOS, firstKey: "another" }])).toMatchObject({ verdict: "deny", reason: "TokenAlreadyUsed" });
  });
  test("the token after the first certificate", async () => {
    const { tokenId: _, ...joined } = BIOS;
    const undefinedToken = { ...CLIENT, username: "system:bootstrap:undefined" };
    expect(await decide(CLIENT, client, [joined])).toMatchObject({ verdict: "deny" });
    expect(await decide(undefinedToken, client, [joined])).toMatchObject({ verdict: "deny" });
  });
  test("a node whose claim is gone", async () => {
    for (const request of [CLIENT, RENEWAL]) expect(await decide(request, client, [UEFI])).toMatchObject({ reason: "SubjectNotAdmitted" });
    expect(await decide(SERVING, serving, [])).toMatchObject({ reason: "SubjectNotAdmitted" });
  });
  test("serving by anybody but the node", async () => {
    for (const who of [
      CLIENT,
      { username: "system:node:uefi-1", groups: ["system:nodes"] },
      { username: "admin", groups: ["system:masters"] },
    ]) {
      const request = { ...SERVING, username: who.username, groups: who.groups };
      expect(await decide(request, serving)).toMatchObject({ reason: "RequestorNotTheNode" });
    }
  });
});

describe("for what", () => {
  const subjects: Subject[] = [
    "CN=system:node:bios-1",
    "O=system:nodes",
    "O=system:masters, CN=system:node:bios-1",
    "O=system:nodes, CN=system:node:bios-10",
    "O=system:nodes, CN=system:node:BIOS-1",
    [{ O: ["system:nodes"] }, { CN: ["system:node:bios-1 "] }],
    [{ O: ["system:nodes\u0000"] }, { CN: ["system:node:bios-1"] }],
    "O=system:nodes, CN=bios-1",
    "O=system:nodes, CN=system:node:",
    "O=system:nodes, O=system:masters, CN=system:node:bios-1",
    "O=system:nodes+O=system:masters, CN=system:node:bios-1",
    "O=system:nodes, CN=system:node:bios-1, CN=admin",
    "O=system:nodes, OU=x, CN=system:node:bios-1",
    "O=system:nodes+CN=system:node:bios-1",
    "CN=admin, O=system:nodes, CN=system:node:bios-1",
  ];
  test.each(subjects)("subject %j is denied", async (subject) => {
    expect(await decide(CLIENT, await pem(subject))).toMatchObject({ verdict: "deny", reason: "SubjectNotAdmitted" });
  });
  test("another admitted node's subject is denied to this one's token and identity", async () => {
    const other = await pem("O=system:nodes, CN=system:node:uefi-1");
    for (const request of [CLIENT, RENEWAL]) expect(await decide(request, other)).toMatchObject({ reason: "RequestorNotTheClaims" });
  });
  test("the other order and the other string type mean the same and pass", async () => {
    expect(await decide(CLIENT, await pem("CN=system:node:bios-1, O=system:nodes"))).toMatchObject({ verdict: "approve" });
    expect(await decide(CLIENT, await pem(typed("utf8String")))).toMatchObject({ verdict: "approve" });
  });
  test.each(["bmpString", "universalString", "ia5String"])("a subject in %s is denied", async (type) => {
    expect(await decide(CLIENT, await pem(typed(type)))).toMatchObject({ verdict: "deny" });
  });

  const usages = [
    [],
    ["client auth"],
    ["digital signature", "client auth", "server auth"],
    ["digital signature", "key encipherment", "client auth"],
    ["digital signature", "cert sign"],
    ["digital signature", "digital signature"],
    ["any"],
  ];
  test.each(usages)("usages %j are denied", async (...asked) => {
    expect(await decide({ ...CLIENT, usages: asked }, client)).toMatchObject({ reason: "UsagesNotExact" });
    expect(await decide({ ...SERVING, usages: asked }, serving)).toMatchObject({ reason: "UsagesNotExact" });
  });

  const names: [string, JsonGeneralName[]][] = [
    ["no address", [{ type: "dns", value: "bios-1" }]],
    ["no name", [{ type: "ip", value: "10.77.0.11" }]],
    ["another's address", [...NAMES, { type: "ip", value: "10.77.0.12" }]],
    ["the apiserver's name", [...NAMES, { type: "dns", value: "kubernetes.default.svc" }]],
    [
      "another's name",
      [
        { type: "dns", value: "uefi-1" },
        { type: "ip", value: "10.77.0.11" },
      ],
    ],
    ["a wildcard", [...NAMES, { type: "dns", value: "*" }]],
    ["loopback", [...NAMES, { type: "ip", value: "127.0.0.1" }]],
    ["an address twice", [...NAMES, { type: "ip", value: "10.77.0.11" }]],
    ["an address as a name", [...NAMES, { type: "dns", value: "10.77.0.12" }]],
    ["a URL", [...NAMES, { type: "url", value: "spiffe://x" }]],
    ["a mail address", [...NAMES, { type: "email", value: "a@b" }]],
  ];
  test.each(names)("serving with %s is denied", async (_, asked) => {
    expect(await decide(SERVING, await pem(SUBJECT, [san(asked)]))).toMatchObject({ verdict: "deny" });
  });
  test("serving without names, and client with names, are denied", async () => {
    expect(await decide(SERVING, client)).toMatchObject({ reason: "ExtensionsNotAllowed" });
    expect(await decide(CLIENT, serving)).toMatchObject({ reason: "ExtensionsNotAllowed" });
  });
  test("asking to be a CA is denied", async () => {
    expect(await decide(CLIENT, await pem(SUBJECT, [new BasicConstraintsExtension(true, 1, true)]))).toMatchObject({
      reason: "MalformedRequest",
    });
    const both = await pem(SUBJECT, [san(NAMES), new BasicConstraintsExtension(true)]);
    expect(await decide(SERVING, both)).toMatchObject({ reason: "MalformedRequest" });
  });
  test("the names twice are denied", async () => {
    expect(await decide(SERVING, await pem(SUBJECT, [san(NAMES), san(NAMES)]))).toMatchObject({ verdict: "deny" });
  });
  test.each([
    { name: "ECDSA", namedCurve: "P-384" },
    { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
  ])("another kind of key is denied: $name $namedCurve", async (algorithm) => {
    const odd = await makeKeys(algorithm as typeof EC);
    expect(await decide(CLIENT, await pem(SUBJECT, [], odd))).toMatchObject({ reason: "MalformedRequest" });
  });
  test("a signature by another key is denied", async () => {
    const stolen = await pem(SUBJECT, [], { publicKey: keys.publicKey, privateKey: otherKeys.privateKey });
    expect(await decide(CLIENT, stolen)).toMatchObject({ reason: "MalformedRequest" });
  });
  test.each([
    ["nothing", () => ""],
    ["two blocks", () => client + serving],
    ["text before it", () => `x\n${client}`],
    ["a header in it", () => client.replace("REQUEST-----\n", "REQUEST-----\nProc-Type: 4\n\n")],
    ["a certificate's label", () => client.replaceAll("CERTIFICATE REQUEST", "CERTIFICATE")],
    ["a byte after it", () => repack((der) => Buffer.concat([der, Buffer.from([0])]))],
    ["a length in BER's long form", () => repack((der) => Buffer.concat([Buffer.from([0x30, 0x82, 0, der[2] ?? 0]), der.subarray(3)]))],
    ["a megabyte", () => client.replace("\n", `\n${"A".repeat(1 << 20)}\n`)],
  ])("a PEM with %s is denied", async (_, forge) => {
    expect(await decide(CLIENT, forge())).toMatchObject({ reason: "MalformedRequest" });
  });
});

describe("forgeries by chance", () => {
  const word = fc.constantFrom("system:nodes", "system:masters", "system:node:bios-1", "system:node:uefi-1", "system:node:x", "admin");
  const username = fc.oneof(word, fc.string(), fc.constantFrom("system:bootstrap:abcdef", "system:bootstrap:uvwxyz", "system:bootstrap:"));

  test("1,000 combinations of requestor, subject, usages and names: none but the honest ones is approved", async () => {
    let denied = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          username,
          group: fc.constantFrom("system:nodes", "system:bootstrappers", "system:masters", "system:authenticated"),
          organizations: fc.array(word, { maxLength: 2 }),
          commonNames: fc.array(word, { maxLength: 2 }),
          usages: fc.subarray(["digital signature", "client auth", "server auth", "key encipherment", "cert sign"]),
          signer: fc.constantFrom(KUBELET_CLIENT, KUBELET_SERVING),
          names: fc.subarray<JsonGeneralName>([...NAMES, { type: "dns", value: "uefi-1" }, { type: "ip", value: "10.77.0.12" }]),
        }),
        async (forged) => {
          const subject = [...forged.organizations.map((O) => ({ O: [O] })), ...forged.commonNames.map((CN) => ({ CN: [CN] }))];
          const text = await pem(subject, forged.names.length > 0 ? [san(forged.names)] : []);
          const { signer, usages } = forged;
          const verdict = await decide({ signer, usages, username: forged.username, groups: [forged.group] }, text);
          if (verdict.verdict === "approve") expect(isHonest(forged)).toBe(true);
          else denied += 1;
        },
      ),
      { numRuns: 1000, seed: 1 },
    );
    expect(denied).toBeGreaterThan(950);
  }, 120_000);

  test("1,000 requests with one byte changed: none is approved", async () => {
    const der = decode(client);
    await fc.assert(
      fc.asyncProperty(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const forged = Buffer.from(der);
        forged[at] = (forged[at] ?? 0) ^ flip;
        expect((await decide(CLIENT, encode(forged))).verdict).toBe("deny");
      }),
      { numRuns: 1000, seed: 2 },
    );
  }, 120_000);
});

/** The only combinations of the generator above that a kubelet could have sent. */
function isHonest(forged: { username: string; organizations: string[]; commonNames: string[]; signer: string; group: string }): boolean {
  const [name = ""] = forged.commonNames;
  const node = ADMITTED.find((one) => `system:node:${one.nodeName}` === name);
  const single = forged.organizations.join() === "system:nodes" && forged.commonNames.length === 1;
  const byNode = forged.username === name && forged.group === "system:nodes";
  const byToken = forged.username === `system:bootstrap:${node?.tokenId}` && forged.group === "system:bootstrappers";
  return node !== undefined && single && (byNode || (byToken && forged.signer === KUBELET_CLIENT));
}

async function decide(request: Omit<SigningRequest, "pem">, text: string, admitted = ADMITTED) {
  return csrVerdict({ ...request, pem: text }, parseRequest(text), admitted);
}

function san(names: JsonGeneralName[]): Extension {
  return new SubjectAlternativeNameExtension(names);
}

type Subject = NonNullable<Parameters<typeof Pkcs10CertificateRequestGenerator.create>[0]["name"]>;

/** The honest subject, in a string type of choice. */
function typed(type: string): Subject {
  return [{ O: [{ [type]: "system:nodes" }] }, { CN: [{ [type]: "system:node:bios-1" }] }] as unknown as Subject;
}

async function pem(subject: Subject, extensions: Extension[] = [], pair: webcrypto.CryptoKeyPair = keys): Promise<string> {
  const signingAlgorithm = { ...pair.privateKey.algorithm, hash: "SHA-256" };
  const request = await Pkcs10CertificateRequestGenerator.create({ name: subject, keys: pair, signingAlgorithm, extensions });
  return `${request.toString("pem")}\n`;
}

async function makeKeys(algorithm: webcrypto.EcKeyGenParams): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
}

function decode(text: string): Buffer {
  return Buffer.from(text.replace(/-----[A-Z ]+-----/g, ""), "base64");
}

function encode(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join("\n")}\n-----END CERTIFICATE REQUEST-----\n`;
}

function repack(change: (der: Buffer) => Buffer): string {
  return encode(change(decode(client)));
}
