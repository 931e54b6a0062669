// Looks for what keeps people from reading the page, as axe and its like do, and
// returns complaints. It is run twice, once for each colour scheme.
(() => {
  const bad = [];
  const say = (e, what) => bad.push(`${what}: <${e.tagName.toLowerCase()}${e.id ? ' id=' + e.id : ''} class="${e.getAttribute('class') || ''}"> ${(e.textContent || '').trim().slice(0, 60)}`);
  const all = s => [...document.querySelectorAll(s)];
  all('details').forEach(d => d.open = true);

  // Structure.
  if (!document.documentElement.lang) bad.push('no language');
  if (!document.title) bad.push('no title');
  if (all('main').length !== 1 || all('h1').length !== 1) bad.push('not one main and one h1');
  let level = 0;
  for (const h of all('h1, h2, h3, h4, h5, h6')) {
    const n = +h.tagName[1];
    if (n > level + 1) say(h, `a heading of level ${n} below one of ${level}`);
    if (!h.textContent.trim()) say(h, 'empty heading');
    level = n;
  }
  const ids = new Set();
  for (const e of all('[id]')) {
    if (ids.has(e.id)) say(e, 'id twice');
    ids.add(e.id);
  }
  for (const a of all('a[href]')) {
    if (!a.getAttribute('href').startsWith('#')) say(a, 'leads out');
    else if (!ids.has(a.getAttribute('href').slice(1))) say(a, 'leads nowhere: ' + a.getAttribute('href'));
    if (!a.textContent.trim()) say(a, 'link without text');
  }
  for (const attribute of ['aria-labelledby', 'aria-describedby']) {
    for (const e of all(`[${attribute}]`)) for (const id of e.getAttribute(attribute).split(' ')) if (!ids.has(id)) say(e, `${attribute} to nothing: ${id}`);
  }
  for (const t of all('table')) {
    if (!t.caption) say(t, 'table without a caption');
    for (const th of t.querySelectorAll('th')) if (!th.scope) say(th, 'th without scope');
    const columns = t.tHead.rows[0].cells.length;
    for (const row of t.tBodies[0].rows) if (row.cells.length !== columns) say(row, `${row.cells.length} cells, not ${columns}`);
  }
  for (const i of all('input')) if (!document.querySelector(`label[for="${i.id}"]`)) say(i, 'input without a label');
  for (const d of all('details')) if (!d.firstElementChild || d.firstElementChild.tagName !== 'SUMMARY' || !d.firstElementChild.textContent.trim()) say(d, 'details without a summary');
  for (const s of all('svg')) if (s.getAttribute('role') !== 'img' || !(s.getAttribute('aria-label') || s.getAttribute('aria-labelledby'))) say(s, 'drawing without a name');
  for (const n of all('nav, [role=region], section')) if (!n.getAttribute('aria-label') && !n.getAttribute('aria-labelledby')) say(n, 'landmark without a name');
  for (const e of all('[tabindex]')) if (e.tabIndex > 0) say(e, 'tabindex above 0');
  for (const e of all('body *')) {
    const s = getComputedStyle(e);
    const scrolls = /auto|scroll/.test(s.overflowX) && e.scrollWidth > e.clientWidth + 1 || /auto|scroll/.test(s.overflowY) && e.scrollHeight > e.clientHeight + 1;
    if (scrolls && e.tabIndex < 0 && !e.querySelector('a, summary, input')) say(e, 'scrolls, but not by keyboard');
  }

  // Contrast, WCAG 2.2, 1.4.3.
  const color = text => {
    const m = text.match(/rgba?\(([^)]+)\)/);
    if (!m) return null;
    const [r, g, b, a = 1] = m[1].split(/[ ,/]+/).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = c => c.slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const canvas = color(getComputedStyle(document.body).backgroundColor);
  // The colours that may be behind e: several where there is a gradient.
  const behind = e => {
    const layers = [];
    for (; e; e = e.parentElement) {
      const s = getComputedStyle(e);
      const gradient = s.backgroundImage.match(/rgba?\([^)]+\)/g);
      if (gradient) layers.push(gradient.map(color));
      const c = color(s.backgroundColor);
      if (c && c[3] > 0) layers.push([c]);
      if (layers.some(l => l.every(c => c[3] === 1))) break;
    }
    return layers.reverse().reduce((bases, layer) => bases.flatMap(base => layer.map(c => over(c, base))), [canvas]);
  };
  // In a drawing it is the shape beneath the middle of the text.
  const beneath = e => {
    e.scrollIntoView({block: 'center'});
    const box = e.getBoundingClientRect();
    let bases = behind(e.closest('svg'));
    for (const shape of document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2).reverse()) {
      if (!/^(rect|circle)$/.test(shape.tagName)) continue;
      const fill = color(getComputedStyle(shape).fill);
      if (fill) bases = bases.map(base => over(fill, base));
    }
    return bases;
  };
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const done = new Set();
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.nodeValue.trim() || done.has(e) || e.closest('script, style, title, desc, .hide, .skip') || !e.getClientRects().length) continue;
    done.add(e);
    seen++;
    const s = getComputedStyle(e), drawn = e.closest('svg');
    const ink = color(drawn ? s.fill : s.color);
    const big = parseFloat(s.fontSize) >= 24 || parseFloat(s.fontSize) >= 18.66 && +s.fontWeight >= 700;
    for (const base of drawn ? beneath(e) : behind(e)) {
      const ratio = contrast(over(ink, base), base);
      if (ratio < (big ? 3 : 4.5)) say(e, `contrast ${ratio.toFixed(2)} of ${ink} on ${base}`);
    }
  }
  // Borders of inputs and the ring of the focus, 1.4.11.
  for (const i of all('input')) {
    const ratio = contrast(color(getComputedStyle(i).borderTopColor), behind(i.parentElement)[0]);
    if (i.offsetParent && ratio < 3) say(i, `border contrast ${ratio.toFixed(2)}`);
  }
  scrollTo(0, 0);
  return {seen, bad};
})()
