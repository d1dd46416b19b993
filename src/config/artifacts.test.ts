import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { isError } from "../core/errors.ts";
import { type Artifacts, artifactFiles, readArtifacts } from "./artifacts.ts";

const dir = mkdtempSync(join(tmpdir(), "ironwright-artifacts-"));
afterAll(() => rmSync(dir, { recursive: true }));

const artifacts: Artifacts = {
  kube: { bin: join(dir, "kube"), version: "v1.36.3", etcdVersion: "3.6.16" },
  native: join(dir, "native"),
  redis: join(dir, "redis-server"),
  installer: { kernel: join(dir, "vmlinuz"), initrd: join(dir, "initrd") },
  node: { image: join(dir, "image"), sha256: "0".repeat(64), format: "ext4+zstd", sizeBytes: 1 },
  pxe: join(dir, "pxe"),
  ovmf: { code: join(dir, "code.fd"), vars: join(dir, "vars.fd") },
};

function index(content: unknown): string {
  const file = join(dir, "artifacts.json");
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

function refusalOf(file: string) {
  try {
    readArtifacts(file);
  } catch (error) {
    if (isError(error, "IRW_ARTIFACT_MISSING")) return { facts: error.facts, next: error.next };
    throw error;
  }
  throw new Error("the index was accepted");
}

test("an index whose files are all there is read", () => {
  for (const { path } of artifactFiles(artifacts)) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, "");
  }
  expect(readArtifacts(index(artifacts))).toEqual(artifacts);
});

test("a file that is gone is named", () => {
  expect(refusalOf(index({ ...artifacts, redis: "/nowhere/redis-server" })).facts).toEqual({
    what: "redis-server",
    where: "/nowhere/redis-server",
  });
});

test.each([
  ["a part that is missing", { ...artifacts, installer: undefined }, "installer"],
  ["a path that is not absolute", { ...artifacts, native: "native" }, "native"],
  ["an image without its sha256", { ...artifacts, node: { ...artifacts.node, sha256: "" } }, "node"],
  ["an index that is no JSON", "{", "the index of artifacts"],
])("%s is named", (_case, content, what) => {
  expect(refusalOf(index(content)).facts).toMatchObject({ what });
});

test("without an index, the mend is to run set-up", () => {
  expect(refusalOf(join(dir, "absent.json")).next).toContain("npm run setup");
});
