import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { describeIssue } from "./load.ts";

const path = z.string().startsWith("/", "an absolute path");
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "a sha256 in hexadecimal");

const artifactsSchema = z.object({
  kube: z.object({
    bin: path.describe("a directory of executables, by their upstream names"),
    version: z.string().startsWith("v"),
    etcdVersion: z.string(),
  }),
  native: path,
  redis: path,
  installer: z.object({ kernel: path, initrd: path }),
  node: z.object({ image: path, sha256, format: z.enum(["ext4+zstd", "ext4+lz4", "tar+zstd"]), sizeBytes: z.int().positive() }),
  pxe: path.describe("a directory with undionly.kpxe and snponly.efi"),
  ovmf: z.object({ code: path, vars: path }),
});

/** What set-up made or fetched: `artifacts.json`, by part. */
export type Artifacts = z.output<typeof artifactsSchema>;

/** The programs in `kube.bin`. */
export const KUBE_PROGRAMS = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "etcd"] as const;

/**
 * The index set-up wrote, every file in it present.
 * @throws IRW_ARTIFACT_MISSING naming the first part that is not there
 */
export function readArtifacts(file: string): Artifacts {
  const artifacts = readIndex(file);
  const missing = artifactFiles(artifacts).find((one) => !existsSync(one.path));
  if (missing) throw new IronwrightError("IRW_ARTIFACT_MISSING", { what: missing.what, where: missing.path });
  return artifacts;
}

/** Every file of the index by what it is, for `ironwright doctor`. */
export function artifactFiles(artifacts: Artifacts): readonly { what: string; path: string }[] {
  return [
    ...KUBE_PROGRAMS.map((name) => ({ what: name, path: join(artifacts.kube.bin, name) })),
    { what: "the native helper", path: artifacts.native },
    { what: "redis-server", path: artifacts.redis },
    { what: "the installer's kernel", path: artifacts.installer.kernel },
    { what: "the installer's initramfs", path: artifacts.installer.initrd },
    { what: "the node image", path: artifacts.node.image },
    { what: "iPXE for BIOS", path: join(artifacts.pxe, "undionly.kpxe") },
    { what: "iPXE for UEFI", path: join(artifacts.pxe, "snponly.efi") },
    { what: "the UEFI firmware", path: artifacts.ovmf.code },
    { what: "the UEFI firmware's variables", path: artifacts.ovmf.vars },
  ];
}

/** The index alone, its files unseen. */
export function readIndex(file: string): Artifacts {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new IronwrightError("IRW_ARTIFACT_MISSING", { what: "the index of artifacts", where: reasonOf(error) }, error);
  }
  const parsed = artifactsSchema.safeParse(document);
  if (parsed.success) return parsed.data;
  const [first] = parsed.error.issues;
  const part = String(first?.path[0] ?? "the index of artifacts");
  throw new IronwrightError("IRW_ARTIFACT_MISSING", { what: part, where: `${file}${first ? `:${describeIssue(first).slice(1)}` : ""}` });
}
