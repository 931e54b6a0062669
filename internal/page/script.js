'use strict';
(() => {
  // Searching a list hides the rows that do not match, and unfolds those that do.
  const lists = [...document.querySelectorAll('[data-list]')].map(section => ({
    section,
    input: section.querySelector('.find input'),
    found: section.querySelector('.found'),
    rows: null,
    folds: null,
    wanted: '',
  })).filter(list => list.input);

  const rowsOf = list => list.rows ??= [...list.section.querySelectorAll('[data-row]')].map(row => ({row, text: row.textContent.toLowerCase()}));
  const foldsOf = list => list.folds ??= [...list.section.querySelectorAll('details[data-fold]')].map(fold => ({fold, open: fold.open}));

  function search(list, text) {
    const wanted = text.trim().toLowerCase();
    if (wanted === list.wanted) return null;
    if (list.wanted === '') list.folds = null; // what the reader has folded since
    list.wanted = wanted;
    let matches = 0;
    const rows = rowsOf(list);
    for (const {row, text} of rows) {
      const match = wanted === '' || text.includes(wanted);
      if (match) matches++;
      if (row.hidden === match) row.hidden = !match;
    }
    for (const {fold, open} of foldsOf(list)) {
      fold.open = wanted === '' ? open : fold.querySelector('[data-row]:not([hidden])') !== null;
    }
    for (const button of list.section.querySelectorAll('button[data-find]')) button.ariaPressed = String(button.dataset.find.toLowerCase() === wanted);
    list.found.textContent = wanted === '' ? '' : `${matches} of ${rows.length}`;
    return matches;
  }

  function soon(input, act) {
    let timer = 0;
    input.addEventListener('input', () => {
      clearTimeout(timer);
      timer = setTimeout(() => act(input.value), rows() > 2000 ? 150 : 0);
    });
    input.addEventListener('keydown', e => {
      if (e.key === 'Escape' && input.value !== '') {
        input.value = '';
        act('');
      }
    });
  }
  let total = -1;
  const rows = () => total < 0 ? total = document.querySelectorAll('[data-row]').length : total;

  for (const list of lists) soon(list.input, text => search(list, text));

  // Buttons put a word into the search of their list, and take it out again.
  for (const list of lists) {
    for (const button of list.section.querySelectorAll('button[data-find]')) {
      button.closest('.only').hidden = false;
      button.addEventListener('click', () => {
        list.input.value = list.wanted === button.dataset.find.toLowerCase() ? '' : button.dataset.find;
        search(list, list.input.value);
      });
    }
  }

  const all = document.getElementById('find-all');
  soon(all, text => {
    let matches = 0, where = 0;
    for (const list of lists) {
      list.input.value = text;
      search(list, text);
      const n = rowsOf(list).reduce((n, {row}) => n + !row.hidden, 0);
      matches += n;
      if (n > 0) where++;
    }
    document.getElementById('found-all').textContent = text.trim() === '' ? '' : `${matches} in ${where} lists`;
  });
  // Short lists are read, not searched; the search of all lists has them, too.
  const worthwhile = 10;
  for (const list of lists) list.input.closest('.find').hidden = list.section.querySelectorAll('[data-row]').length <= worthwhile;
  all.closest('.find').hidden = false;

  // A link to something that is folded unfolds it.
  function unfold() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let e = target; e; e = e.parentElement) if (e.tagName === 'DETAILS') e.open = true;
    const inner = target.matches('.finding') && target.querySelector('details');
    if (inner) inner.open = true;
    target.scrollIntoView();
  }
  addEventListener('hashchange', unfold);
  unfold();

  // Paper cannot be unfolded. Very long lists stay as they are.
  let opened = [];
  addEventListener('beforeprint', () => {
    opened = [...document.querySelectorAll('details:not([open])')].filter(d => d.getElementsByTagName('*').length < 2500);
    for (const d of opened) d.open = true;
  });
  addEventListener('afterprint', () => {
    for (const d of opened) d.open = false;
    opened = [];
  });
})();
