// Looks at pages in frames, and writes what it sees into the document: one line per page and width.
// The frames hold the pages as they are. Theirs is the origin of this script, so it can measure.

function luminance([r, g, b]) {
  const linear = [r, g, b].map((value) => {
    value /= 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function color(text) {
  const numbers = text.match(/[\d.]+/g).map(Number);
  return { rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1 };
}

function ground(view, element) {
  for (let at = element; at; at = at.parentElement) {
    const { rgb, alpha } = color(view.getComputedStyle(at).backgroundColor);
    if (alpha === 1) return rgb;
  }
  return [255, 255, 255];
}

function look(frame, name, width) {
  const [view, page] = [frame.contentWindow, frame.contentDocument];
  const root = page.documentElement;
  // Headings of tables are out of sight where rows are cards.
  const wide = [...page.querySelectorAll("main *:not(thead *)")].find((element) => {
    return element.getBoundingClientRect().right > width + 0.5;
  });
  // Contrast as in WCAG 2.1, 1.4.3, of every element that has text of its own.
  let contrast = 21;
  let palest = "";
  for (const element of page.body.querySelectorAll("*")) {
    const nodes = [...element.childNodes];
    if (!nodes.some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const light = luminance(color(view.getComputedStyle(element).color).rgb);
    const behind = luminance(ground(view, element));
    const ratio = (Math.max(light, behind) + 0.05) / (Math.min(light, behind) + 0.05);
    if (ratio < contrast) [contrast, palest] = [ratio, element.outerHTML.slice(0, 80)];
  }
  return {
    name,
    width,
    scrolls: root.scrollWidth > root.clientWidth,
    wide: wide ? wide.outerHTML.slice(0, 200) : null,
    dark: luminance(ground(view, page.body)) < 0.2,
    contrast,
    palest,
    loaded: view.performance.getEntriesByType("resource").map((entry) => entry.name),
    height: root.scrollHeight,
    text: page.body.innerText.length,
  };
}

addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")];
  const seen = frames.map((frame) => look(frame, frame.title, Number(frame.width)));
  document.body.textContent = "BEGIN" + JSON.stringify(seen) + "END";
});
