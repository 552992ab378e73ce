// A message's body is HTML that the gateway has made safe. The page does not take
// its word for it: the body is parsed where nothing runs, and only what is listed
// here is built anew, without any attribute.
const allowed = new Set(["STRONG", "B", "EM", "I", "U", "S", "DEL", "CODE", "PRE", "BLOCKQUOTE", "UL", "OL", "LI", "BR", "P", "SPAN"]);
const silent = new Set(["SCRIPT", "STYLE", "TEMPLATE", "IFRAME", "OBJECT", "SVG", "MATH", "NOSCRIPT"]);

export function safe(html) {
  const fragment = document.createDocumentFragment();
  copy(new DOMParser().parseFromString(html, "text/html").body, fragment);
  return fragment;
}

function copy(from, to) {
  for (const node of from.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) {
      to.append(node.data);
    } else if (node.nodeType === Node.ELEMENT_NODE && !silent.has(node.nodeName.toUpperCase())) {
      let inside = to;
      if (allowed.has(node.nodeName)) {
        inside = document.createElement(node.nodeName);
        to.append(inside);
      }
      copy(node, inside);
    }
  }
}
