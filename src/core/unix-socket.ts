/** sun_path of unix(7), less the final zero. */
export const LONGEST_SOCKET_PATH = 107;

export function fitsSocket(path: string): boolean {
  return Buffer.byteLength(path) <= LONGEST_SOCKET_PATH;
}
