// Loads the report of a run with the secret that the tab of the dashboard passed on, and shows it in place of this page.
"use strict";

async function load() {
  const token = sessionStorage.getItem("bluegreen-token") ?? "";
  try {
    const answer = await fetch(`${location.pathname}/report`, { headers: { "x-bluegreen-token": token } });
    const text = await answer.text();
    if (answer.ok) {
      document.open();
      document.write(text);
      document.close();
      return;
    }
    document.getElementById("problem").textContent = text;
  } catch {
    document.getElementById("problem").textContent =
      "The dashboard does not respond. Check that bluegreen dashboard is running.";
  }
}

load();
