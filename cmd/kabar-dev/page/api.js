// ask asks the gateway as a person, and answers with the JSON of a path below /v2.
export async function ask(person, path, { headers, ...init } = {}) {
  const authorization = "Basic " + btoa(`${person.id}:${person.token}`);
  const response = await fetch("/v2" + path, { ...init, headers: { ...headers, Authorization: authorization } });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}
