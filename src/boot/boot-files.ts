import type { BigIntStats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";

/** A file as it is now. */
export interface BootFile {
  readonly path: string;
  readonly size: number;
  readonly modified: Date;
  /** Tells one content from another: inode, size, time of change in nanoseconds. The native helper writes it alike. */
  readonly version: string;
}

/** The files that are handed out: those that are asked for again and again stay in memory, each until it changes. */
export interface BootFiles {
  /** Undefined when there is no such file. */
  look(path: string): Promise<BootFile | undefined>;
  /** Its bytes, when they are few enough to be kept; undefined when not, or when it changed since it was looked at. */
  content(file: BootFile): Promise<Buffer | undefined>;
}

/** Bytes; the defaults hold the boot programs and the installer of several systems. */
export interface BootFilesOptions {
  readonly largest?: number;
  readonly all?: number;
}

const LARGEST = 64 * 2 ** 20;
const ALL = 256 * 2 ** 20;

export function createBootFiles({ largest = LARGEST, all = ALL }: BootFilesOptions = {}): BootFiles {
  /** By path, the one longest unused first. */
  const kept = new Map<string, { readonly version: string; readonly size: number; readonly content: Promise<Buffer | undefined> }>();
  let bytes = 0;

  function drop(path: string): void {
    bytes -= kept.get(path)?.size ?? 0;
    kept.delete(path);
  }

  return {
    async look(path) {
      try {
        const facts = await stat(path, { bigint: true });
        if (!facts.isFile()) return undefined;
        return { path, size: Number(facts.size), modified: facts.mtime, version: versionOf(facts) };
      } catch {
        return undefined;
      }
    },
    content(file) {
      const before = kept.get(file.path);
      drop(file.path);
      if (file.size > Math.min(largest, all)) return Promise.resolve(undefined);
      const content = before?.version === file.version ? before.content : readVersion(file);
      kept.set(file.path, { version: file.version, size: file.size, content });
      bytes += file.size;
      for (const path of kept.keys()) {
        if (bytes <= all) break;
        drop(path);
      }
      void content.then((read) => {
        if (!read && kept.get(file.path)?.content === content) drop(file.path);
      });
      return content;
    },
  };
}

/** A file opened in the version that was looked at; undefined when it is another one by now. */
export async function openVersion(file: BootFile): Promise<FileHandle | undefined> {
  const handle = await open(file.path).catch(() => undefined);
  if (!handle) return undefined;
  if (versionOf(await handle.stat({ bigint: true })) === file.version) return handle;
  await handle.close();
  return undefined;
}

function versionOf({ ino, size, mtimeNs }: BigIntStats): string {
  return [ino, size, mtimeNs].map((one) => one.toString(16)).join("-");
}

async function readVersion(file: BootFile): Promise<Buffer | undefined> {
  const handle = await openVersion(file);
  if (!handle) return undefined;
  try {
    const content = Buffer.allocUnsafeSlow(file.size);
    for (let at = 0; at < file.size; ) {
      const { bytesRead } = await handle.read(content, at, file.size - at, at);
      if (bytesRead === 0) return undefined;
      at += bytesRead;
    }
    return content;
  } catch {
    return undefined;
  } finally {
    await handle.close();
  }
}
