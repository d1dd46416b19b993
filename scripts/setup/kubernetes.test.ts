import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fetchRelease, pinned } from "./kubernetes.mjs";

const PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"];
const versions = { kubernetes: "v1.36.3", etcd: "3.6.16" };

let dir: string;
let server: ReturnType<typeof createServer>;
/** What the server serves, by path; a test may spoil an entry. */
let files: Map<string, Buffer>;
let answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;

/** A server of the same layout as the official release's. */
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "ironwright-release-"));
  mkdirSync(join(dir, "bin"));
  files = releaseFiles();
  answer = undefined;
  server = createServer((request, response) => {
    if (answer?.(request, response)) return;
    const file = files.get(request.url ?? "");
    response.writeHead(file ? 200 : 404).end(file ?? "not found");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true });
});

function releaseFiles(): Map<string, Buffer> {
  const all = new Map<string, Buffer>();
  for (const program of PROGRAMS) {
    const content = Buffer.from(`#!/bin/sh\necho ${program}\n`);
    all.set(`/k8s/v1.36.3/bin/linux/amd64/${program}`, content);
    all.set(`/k8s/v1.36.3/bin/linux/amd64/${program}.sha256`, Buffer.from(sha256(content)));
  }
  const name = "etcd-v3.6.16-linux-amd64";
  const tree = join(dir, "tree", name);
  mkdirSync(tree, { recursive: true });
  writeFileSync(join(tree, "etcd"), "#!/bin/sh\necho etcd\n", { mode: 0o755 });
  writeFileSync(join(tree, "etcdctl"), "not wanted");
  execFileSync("tar", ["-czf", join(dir, "etcd.tar.gz"), "-C", join(dir, "tree"), name]);
  const tarball = readFileSync(join(dir, "etcd.tar.gz"));
  all.set(`/etcd/v3.6.16/${name}.tar.gz`, tarball);
  all.set("/etcd/v3.6.16/SHA256SUMS", Buffer.from(`${"0".repeat(64)}  other.zip\n${sha256(tarball)}  ${name}.tar.gz\n`));
  return all;
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

function port(): number {
  return (server.address() as AddressInfo).port;
}

function fetchIt(options: { hosts?: readonly string[]; signal?: AbortSignal } = {}): Promise<void> {
  const base = `http://127.0.0.1:${port()}`;
  return fetchRelease({
    bin: join(dir, "bin"),
    versions,
    arch: "amd64",
    from: { kubernetes: `${base}/k8s`, etcd: `${base}/etcd` },
    run: async (command: string, args: readonly string[]) => execFileSync(command, args, { encoding: "utf8" }),
    progress: () => {},
    signal: options.signal ?? new AbortController().signal,
    hosts: options.hosts ?? [],
  });
}

test("the official release is fetched, checked and made executable", async () => {
  await fetchIt();
  const bin = join(dir, "bin");
  expect(readdirSync(bin).sort()).toEqual([...PROGRAMS, "etcd"].sort());
  for (const program of [...PROGRAMS, "etcd"]) {
    expect(statSync(join(bin, program)).mode & 0o111, program).not.toBe(0);
    expect(execFileSync(join(bin, program), { encoding: "utf8" })).toBe(`${program}\n`);
  }
});

test("a file with another sha256 is refused, and nothing of it stays", async () => {
  files.set("/k8s/v1.36.3/bin/linux/amd64/kubelet", Buffer.from("#!/bin/sh\necho somebody else\n"));
  await expect(fetchIt()).rejects.toThrow(/kubelet has sha256 [0-9a-f]{64}, not [0-9a-f]{64}/);
  expect(existsSync(join(dir, "bin", "kubelet"))).toBe(false);
});

test("a spoilt etcd archive is refused before it is unpacked", async () => {
  files.set("/etcd/v3.6.16/etcd-v3.6.16-linux-amd64.tar.gz", Buffer.from("no archive"));
  await expect(fetchIt()).rejects.toThrow(/etcd-v3.6.16-linux-amd64.tar.gz has sha256/);
  expect(existsSync(join(dir, "bin", "etcd"))).toBe(false);
});

test.each([
  ["/k8s/v1.36.3/bin/linux/amd64/kubectl.sha256", /kubectl.sha256 answered 404/],
  ["/etcd/v3.6.16/SHA256SUMS", /SHA256SUMS answered 404/],
])("without %s nothing is fetched", async (path, message) => {
  files.delete(path);
  await expect(fetchIt()).rejects.toThrow(message);
  expect(readdirSync(join(dir, "bin"))).toEqual([]);
});

test("an archive that the checksums do not name is not fetched", async () => {
  files.set("/etcd/v3.6.16/SHA256SUMS", Buffer.from(`${"0".repeat(64)}  other.zip\n`));
  await expect(fetchIt()).rejects.toThrow("does not name etcd-v3.6.16-linux-amd64.tar.gz");
});

test("a redirect is followed to a listed host only", async () => {
  const program = "/k8s/v1.36.3/bin/linux/amd64/kube-apiserver";
  answer = (request, response) => {
    // the same server under another name stands for the mirror
    if (request.url !== program || request.headers.host?.startsWith("localhost")) return false;
    response.writeHead(302, { location: `http://localhost:${port()}${program}` }).end();
    return true;
  };
  await expect(fetchIt()).rejects.toThrow(/redirects to localhost:\d+, which is not followed/);
  await fetchIt({ hosts: [`localhost:${port()}`] });
  expect(existsSync(join(dir, "bin", "kube-apiserver"))).toBe(true);
});

test("a server that says nothing is given up soon", async () => {
  answer = () => true;
  const began = Date.now();
  await expect(fetchIt()).rejects.toThrow(/timeout/i);
  expect(Date.now() - began).toBeLessThan(5_000);
});

test("an interruption ends a download and leaves no file", async () => {
  const interruption = new AbortController();
  answer = (request, response) => {
    if (!request.url?.endsWith("/kube-apiserver")) return false;
    response.writeHead(200).write("the first bytes", () => interruption.abort());
    return true;
  };
  await expect(fetchIt({ signal: interruption.signal })).rejects.toThrow(/abort/i);
  expect(readdirSync(join(dir, "bin"))).toEqual([]);
});

test("the versions are those that images/kubernetes pins", () => {
  const module = join(import.meta.dirname, "../../images/kubernetes/go.mod");
  const { kubernetes, etcd } = pinned(readFileSync(module, "utf8"));
  expect(kubernetes).toMatch(/^v1\.36\.\d+$/);
  expect(etcd).toMatch(/^3\.6\.(1[4-9]|[2-9]\d)$/);
});
