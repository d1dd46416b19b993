import { mkdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { SetupError } from "./context.mjs";
import { download, fetchText } from "./download.mjs";
import { goBuild } from "./go.mjs";

export const name = "kubernetes";

const KUBERNETES_URL = "https://dl.k8s.io/release";
const ETCD_URL = "https://github.com/etcd-io/etcd/releases/download";
/** Where the two above redirect to. */
const HOSTS = ["cdn.dl.k8s.io", "release-assets.githubusercontent.com", "objects.githubusercontent.com"];

const KUBERNETES_PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"];
const PROGRAMS = [...KUBERNETES_PROGRAMS, "etcd"];

const PROBE_MS = 3_000;
const DOWNLOAD_MS = 15 * 60_000;
const PROGRAM_BYTES_MAX = 400e6;

/** As upstream's release: without what only tests use, which keeps the linker from dropping dead code. */
const TAGS = ["grpcnotrace", "notest"];

/** What the release's own build says of itself, so that `kubectl version`, user agents and metrics read as upstream's. */
const linkerFlags = (/** @type {Versions} */ { kubernetes, etcd }) => {
  const [major, minor] = kubernetes.slice(1).split(".");
  const facts = { gitVersion: kubernetes, gitMajor: major, gitMinor: minor, gitCommit: "", gitTreeState: "clean" };
  const stamped = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((path) =>
    Object.entries(facts).map(([fact, value]) => `-X ${path}.${fact}=${value}`),
  );
  return ["-s", "-w", ...stamped, `-X go.etcd.io/etcd/api/v3/version.GitSHA=v${etcd}`].join(" ");
};

/** @typedef {{ kubernetes: string, etcd: string }} Versions e.g. v1.36.3 and 3.6.16 */

/** @param {import("./context.mjs").Context} ctx */
export async function run(ctx) {
  const module = join(ctx.repo, "images/kubernetes");
  const versions = pinned(readFileSync(join(module, "go.mod"), "utf8"));
  const key = ctx.keyOf([
    join(module, "go.mod"),
    join(module, "go.sum"),
    join(module, "main.go"),
    join(module, "kubelet"),
    linkerFlags(versions),
    ...TAGS,
    ctx.arch,
  ]);
  const label = `Kubernetes ${versions.kubernetes} and etcd ${versions.etcd}`;
  const dir = await ctx.cache({ part: name, key, label }, async (dir, progress) => {
    const bin = join(dir, "bin");
    mkdirSync(bin);
    try {
      await fetchRelease({ bin, versions, arch: ctx.arch, run: ctx.run, progress, signal: ctx.signal, from: sources(process.env) });
    } catch (error) {
      ctx.signal.throwIfAborted();
      rmSync(bin, { recursive: true });
      mkdirSync(bin);
      ctx.log(`  ${label}: the official release cannot be had (${reasonOf(error)}); building it with Go`);
      await goBuild(ctx, { module, to: join(bin, "kubernetes"), linkerFlags: linkerFlags(versions), tags: TAGS, progress });
      // nodes carry the kubelet alone; its packages are compiled already
      await goBuild(ctx, {
        module: join(module, "kubelet"),
        to: join(bin, "kubelet"),
        linkerFlags: linkerFlags(versions),
        tags: TAGS,
        progress,
      });
      for (const program of PROGRAMS.filter((one) => one !== "kubelet")) symlinkSync("kubernetes", join(bin, program));
    }
    // what does not start is not kept
    await ctx.run(join(bin, "kubectl"), ["version", "--client"]);
    await ctx.run(join(bin, "etcd"), ["--version"]);
  });
  ctx.artifacts({ kube: { bin: join(dir, "bin"), version: versions.kubernetes, etcdVersion: versions.etcd } });
}

/**
 * The versions that images/kubernetes pins: the one place they are written.
 * @param {string} goMod
 * @returns {Versions}
 */
export function pinned(goMod) {
  const kubernetes = /^\s*k8s\.io\/kubernetes (v\S+)/m.exec(goMod)?.[1];
  const etcd = /^\s*go\.etcd\.io\/etcd\/server\/v3 v(\S+)/m.exec(goMod)?.[1];
  if (!kubernetes || !etcd)
    throw new SetupError("images/kubernetes/go.mod pins no k8s.io/kubernetes or no etcd", "git checkout images/kubernetes");
  return { kubernetes, etcd };
}

/** @param {Record<string, string | undefined>} env */
function sources(env) {
  return {
    kubernetes: env.IRONWRIGHT_SETUP_KUBERNETES_URL ?? KUBERNETES_URL,
    etcd: env.IRONWRIGHT_SETUP_ETCD_URL ?? ETCD_URL,
  };
}

/**
 * The official release into `bin`, each file by the sha256 published beside it. Throws when it cannot be had whole.
 * @param {{ bin: string, versions: Versions, arch: string, from: { kubernetes: string, etcd: string },
 * run: import("./context.mjs").Context["run"],
 *   progress: import("./context.mjs").Progress, signal: AbortSignal, hosts?: readonly string[] }} options
 */
export async function fetchRelease({ bin, versions, arch, from, run, progress, signal, hosts = HOSTS }) {
  if (from.kubernetes === "none" || from.etcd === "none") throw new Error("not looked for, as asked");
  const base = `${from.kubernetes}/${versions.kubernetes}/bin/linux/${arch}`;
  const archive = `etcd-v${versions.etcd}-linux-${arch}`;
  const etcdBase = `${from.etcd}/v${versions.etcd}`;

  progress("looking for the official release");
  const small = { hosts, signal, maxBytes: 100_000, timeoutMs: PROBE_MS };
  const checksums = await Promise.all([
    ...KUBERNETES_PROGRAMS.map(async (program) => (await fetchText(`${base}/${program}.sha256`, small)).trim()),
    fetchText(`${etcdBase}/SHA256SUMS`, small).then((sums) => checksumOf(sums, `${archive}.tar.gz`)),
  ]);

  /** @param {string} file */
  const limits = (file) => ({
    hosts,
    signal,
    maxBytes: PROGRAM_BYTES_MAX,
    timeoutMs: DOWNLOAD_MS,
    progress: (/** @type {number} */ bytes) => progress(`${file}, ${Math.round(bytes / 1e6)} MB`),
  });
  for (const [index, program] of KUBERNETES_PROGRAMS.entries()) {
    await download(`${base}/${program}`, { to: join(bin, program), sha256: checksums[index] ?? "", ...limits(program) });
  }
  const tarball = join(bin, "etcd.tar.gz");
  await download(`${etcdBase}/${archive}.tar.gz`, { to: tarball, sha256: checksums.at(-1) ?? "", ...limits("etcd") });
  await run("tar", ["-xzf", tarball, "-C", bin, "--no-same-owner", "--strip-components=1", `${archive}/etcd`]);
  rmSync(tarball);
}

/**
 * @param {string} sums lines of `sha256  file`
 * @param {string} file
 */
function checksumOf(sums, file) {
  const line = sums.split("\n").find((one) => one.trim().split(/\s+\*?/)[1] === file);
  const sha256 = line?.trim().split(/\s+/)[0];
  if (!sha256) throw new Error(`SHA256SUMS does not name ${file}`);
  return sha256;
}

/** @param {unknown} error */
function reasonOf(error) {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error.message}${cause}`;
}
