import { open } from "node:fs/promises";

const CHUNK = 4 * 1024 * 1024;

/** Whether the bytes of `text` stand anywhere in the file: the whole of it is read, holes are skipped by the kernel. */
export async function fileHolds(path: string, text: string): Promise<boolean> {
  const wanted = Buffer.from(text);
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(CHUNK + wanted.length);
    for (let at = 0; at < size; at += CHUNK) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (buffer.subarray(0, bytesRead).includes(wanted)) return true;
    }
    return false;
  } finally {
    await file.close();
  }
}
