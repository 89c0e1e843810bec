// A file of its own, because the page's policy lets no inline script run (config/headers.py).
SwaggerUIBundle({ url: '/openapi.json', dom_id: '#ui', persistAuthorization: true, deepLinking: true });
