// The buttons above the ledger: show the claims of one verdict, or all. Without scripts all stand there.
for (const group of document.querySelectorAll(".ledger-filter")) {
  const buttons = [...group.querySelectorAll("button")];
  const show = (verdict) => {
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
    }
    for (const table of document.querySelectorAll("table.ledger")) {
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        const badge = row.querySelector(".sd-badge");
        row.hidden = verdict !== "" && badge.textContent.trim() !== verdict;
      }
      table.hidden = rows.every((row) => row.hidden);
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", () => show(button.dataset.verdict));
  }
  group.hidden = false;
}
