type Child = Node | string;
type Attributes = Readonly<Record<string, string>>;

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes and children. Text is only ever set as text. */
export function h<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function svg(name: string, attributes: Attributes, ...children: readonly Child[]): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The element of index.html with this id. */
export function byId(id: string): HTMLElement {
  return kindById(id, HTMLElement);
}

/** The element of index.html with this id, checked to be of a kind. */
export function kindById<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`no such element: #${id}`);
  return element;
}

/** Sets a text if it differs, so that what has not changed is neither laid out nor read out again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [key, value] of Object.entries(attributes)) {
    if (element.getAttribute(key) !== value) element.setAttribute(key, value);
  }
}

export interface KeyedList<Item> {
  readonly key: (item: Item) => string;
  readonly create: (item: Item) => HTMLElement;
  readonly update: (element: HTMLElement, item: Item) => void;
}

/** Makes the children of a list match the items, in order. An item that stays keeps its element, and so the focus. */
export function syncList<Item>(
  list: HTMLElement,
  items: readonly Item[],
  { key, create, update }: KeyedList<Item>,
): void {
  const known = new Map<string, HTMLElement>();
  for (const child of list.children) {
    if (child instanceof HTMLElement) known.set(child.dataset['key'] ?? '', child);
  }
  let at = list.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const element = known.get(name) ?? create(item);
    known.delete(name);
    element.dataset['key'] = name;
    update(element, item);
    if (element === at) at = at.nextElementSibling;
    else list.insertBefore(element, at);
  }
  for (const gone of known.values()) gone.remove();
}

/** A list that shows its first items, and more on demand. */
export function createShortList<Item>(
  options: KeyedList<Item> & { readonly list: HTMLElement; readonly more: HTMLElement; readonly step: number },
): (items: readonly Item[], total?: number) => void {
  const { list, more, step } = options;
  let most = step;
  let shown: readonly Item[] = [];
  let all = 0;
  const show = (): void => {
    syncList(list, shown.slice(0, most), options);
    const hidden = shown.length - most;
    const unknown = all - shown.length;
    more.hidden = hidden <= 0 && unknown <= 0;
    more.toggleAttribute('disabled', hidden <= 0);
    setText(
      more,
      hidden > 0
        ? `Show ${Math.min(step, hidden)} more of ${hidden + unknown}`
        : `${unknown} more are left out: search finds pods among them`,
    );
  };
  more.addEventListener('click', () => {
    most += step;
    show();
  });
  return (items, total = items.length) => {
    shown = items;
    all = total;
    show();
  };
}
