/** A file of the page, as made by `scripts/page-assets.mjs`. */
export interface Asset {
  readonly type: string;
  readonly text: string;
}

type Assets = Readonly<Record<string, Asset>>;

/** The server's bundle holds the page's files as JSON. */
declare const KIAM_PAGE: string | undefined;

/** The files of the page, by path. */
export async function pageAssets(): Promise<Assets> {
  if (typeof KIAM_PAGE === 'string') {
    const bundled: Assets = JSON.parse(KIAM_PAGE);
    return bundled;
  }
  // From the sources, the page is put together when it is first asked for.
  const path = new URL('../../scripts/page-assets.mjs', import.meta.url).href;
  const maker: { pageAssets(): Promise<Assets> } = await import(path);
  return maker.pageAssets();
}
