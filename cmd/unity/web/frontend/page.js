// The page reads the API under the name it was loaded from.
async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: status ${answer.status}`);
  return answer.json();
}

async function show() {
  const state = document.getElementById("state");
  try {
    const [health, alerts] = await Promise.all([ask("/health"), ask("/api/alerts")]);
    state.textContent = `Backend ${health.version}, database ${health.database}.`;
    document.getElementById("alerts").replaceChildren(
      ...alerts.items.map((alert) => {
        const item = document.createElement("li");
        item.textContent = `${alert.severity}: ${alert.title}`;
        item.classList.toggle("resolved", alert.resolved);
        return item;
      }),
    );
  } catch (error) {
    state.textContent = `The API does not answer: ${error.message}.`;
  }
}

show();
