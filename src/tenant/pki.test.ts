import { randomBytes, X509Certificate } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { createCa, issue, type KeyedCertificate } from "../supervise/index.ts";
import { type Bundle, type BundleOptions, completeBundle, FORWARDING } from "./pki.ts";

const SANS = ["localhost", "127.0.0.1", "10.77.0.1", "10.96.0.1", "kubernetes.default.svc"];
let shard: KeyedCertificate;
let bundle: Bundle;

function options(change: Partial<BundleOptions> = {}): BundleOptions {
  const certificate = (days: number) => issue({ ca: shard, commonName: "uid", usages: ["client"], days });
  return {
    tenant: "default.acme",
    sans: SANS,
    datastore: { ca: shard.certificate, certificate },
    now: new Date(),
    random: randomBytes,
    ...change,
  };
}

beforeAll(async () => {
  shard = await createCa("shard");
  bundle = await completeBundle({}, options());
});

test("a whole bundle is left alone", async () => {
  expect(await completeBundle(bundle, options())).toBe(bundle);
});

test.each([
  ["apiserver", "ca", "CN=kube-apiserver", "server"],
  ["kubelet-client", "ca", "CN=kube-apiserver-kubelet-client", "client"],
  ["front-proxy", "front-proxy-ca", "CN=front-proxy-client", "client"],
  ["controller-manager", "ca", "O=system:masters\nCN=system:kube-controller-manager", "client"],
  ["scheduler", "ca", "CN=system:kube-scheduler", "client"],
  ["daemon", "ca", "O=system:masters\nCN=ironwright", "client"],
  ["people", "ca", "O=ironwright:admins\nCN=admin", "client"],
])("%s is a leaf of %s for one use", (file, authority, subject, usage) => {
  const leaf = new X509Certificate(bundle[`${file}.crt`] ?? "");
  expect(leaf.subject).toBe(subject);
  expect(leaf.verify(new X509Certificate(bundle[`${authority}.crt`] ?? "").publicKey)).toBe(true);
  expect(leaf.keyUsage).toEqual([usage === "server" ? "1.3.6.1.5.5.7.3.1" : "1.3.6.1.5.5.7.3.2"]);
  expect(leaf.ca).toBe(false);
  const days = (leaf.validToDate.getTime() - Date.now()) / 86_400_000;
  expect(days).toBeLessThan(file === "people" ? 366 : 91);
});

test("what grows old is renewed, authorities and the keys of data are not", async () => {
  const later = await completeBundle(bundle, options({ now: new Date(Date.now() + 70 * 86_400_000) }));
  const same = Object.keys(bundle).filter((file) => later[file] === bundle[file]);
  expect(same.sort()).toEqual(
    [
      "ca-bundle.crt",
      "ca.crt",
      "ca.key",
      "encryption-key",
      "etcd-ca.crt",
      "front-proxy-ca-bundle.crt",
      "front-proxy-ca.crt",
      "front-proxy-ca.key",
      "people.crt",
      "people.key",
      "service-account.key",
      "service-account.pub",
      "ssh-forwarding.key",
      "ssh-forwarding.pub",
    ].sort(),
  );
});

test("another address renews the apiserver's certificate alone", async () => {
  const moved = await completeBundle(bundle, options({ sans: [...SANS, "10.0.0.9"] }));
  expect(Object.keys(bundle).filter((file) => moved[file] !== bundle[file])).toEqual(["apiserver.crt", "apiserver.key"]);
  expect(new X509Certificate(moved["apiserver.crt"] ?? "").subjectAltName).toContain("10.0.0.9");
});

test("another datastore renews the certificate for it alone", async () => {
  const other = await createCa("shard");
  const certificate = (days: number) => issue({ ca: other, commonName: "uid", usages: ["client"], days });
  const moved = await completeBundle(bundle, options({ datastore: { ca: other.certificate, certificate } }));
  expect(
    Object.keys(bundle)
      .filter((file) => moved[file] !== bundle[file])
      .sort(),
  ).toEqual(["etcd-ca.crt", "etcd.crt", "etcd.key"]);
});

test("a bundle from before tenants had a forwarding key gets one, which stays, and nothing else changes", async () => {
  const { [FORWARDING.key]: _key, [FORWARDING.pub]: _pub, ...old } = bundle;
  const whole = await completeBundle(old, options());
  expect(Object.keys(whole).filter((file) => whole[file] !== old[file])).toEqual([FORWARDING.key, FORWARDING.pub]);
  expect(whole[FORWARDING.pub]).toMatch(/^ssh-ed25519 \S+ ironwright-gateway$/);
  expect(await completeBundle(whole, options())).toBe(whole);
});

test("two tenants share no key", async () => {
  const second = await completeBundle({}, options());
  const shared = Object.keys(bundle).filter((file) => second[file] === bundle[file]);
  expect(shared).toEqual(["etcd-ca.crt"]);
});
