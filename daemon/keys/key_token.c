/* SPDX-License-Identifier: MIT */
/*
 * A PKCS#11 token: module -> token -> session -> key -> HMAC. All of it runs in a
 * child that ends with it, so that nothing is given back but what the token itself
 * should know of: session and module. What goes wrong is said on stderr.
 */
#include "keys/key_token.h"

#include <p11-kit/p11-kit.h>
#include <p11-kit/uri.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "keys/key_child.h"
#include "keys/key_mem.h"

enum {
	SLOTS_MAX = 64,	    /* of a module, with a token in them */
	ATTRIBUTES_MAX = 8, /* of a URI: there are three */
};

struct token {
	P11KitUri *uri;
	CK_FUNCTION_LIST **modules; /* up to NULL; those that are configured */
	CK_FUNCTION_LIST *own[2];   /* or the one that the URI names, and NULL */
	unsigned int nr_found;
	/* The one that matches. */
	CK_FUNCTION_LIST *module;
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
};

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vdprintf(STDERR_FILENO, fmt, args);
	va_end(args);
}

/* Says why there is no key, and is false. */
#define NO_KEY(...) (say(__VA_ARGS__), false)

/* ---- module ---- */

/* Up to NULL; NULL itself: there is none, and why has been said. */
static CK_FUNCTION_LIST **load_one(struct token *token, const char *path)
{
	CK_RV rv;

	token->own[0] = p11_kit_module_load(path, 0);
	if (!token->own[0]) {
		say("module %s: cannot be loaded: %s", path, p11_kit_message());
		return NULL;
	}
	rv = p11_kit_module_initialize(token->own[0]);
	if (rv != CKR_OK) {
		say("module %s: does not start: %s", path, p11_kit_strerror(rv));
		return NULL;
	}
	return token->own;
}

static CK_FUNCTION_LIST **load_modules(struct token *token)
{
	const char *path = p11_kit_uri_get_module_path(token->uri);
	CK_FUNCTION_LIST **modules;

	p11_kit_be_quiet();
	if (path)
		return load_one(token, path);
	modules = p11_kit_modules_load_and_initialize(0);
	if (!modules)
		say("the configured modules cannot be loaded: %s", p11_kit_message());
	return modules;
}

static void end_modules(struct token *token)
{
	if (token->modules == token->own)
		p11_kit_module_finalize(token->own[0]);
	else
		p11_kit_modules_finalize_and_release(token->modules);
}

/* ---- token ---- */

/* An empty slot's token, waiting for a label, is nobody's. */
static bool matches(struct token *token, CK_FUNCTION_LIST *module, CK_SLOT_ID slot,
		    CK_TOKEN_INFO *ret_info)
{
	const CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(token->uri);
	CK_SLOT_INFO slot_info;

	return (wanted == (CK_SLOT_ID)-1 || wanted == slot) &&
	       module->C_GetSlotInfo(slot, &slot_info) == CKR_OK &&
	       p11_kit_uri_match_slot_info(token->uri, &slot_info) &&
	       module->C_GetTokenInfo(slot, ret_info) == CKR_OK &&
	       (ret_info->flags & CKF_TOKEN_INITIALIZED) &&
	       p11_kit_uri_match_token_info(token->uri, ret_info);
}

static void look_in(struct token *token, CK_FUNCTION_LIST *module)
{
	CK_SLOT_ID slots[SLOTS_MAX];
	CK_ULONG nr_slots = SLOTS_MAX;
	CK_TOKEN_INFO info;
	CK_INFO module_info;

	if (module->C_GetInfo(&module_info) != CKR_OK ||
	    !p11_kit_uri_match_module_info(token->uri, &module_info) ||
	    module->C_GetSlotList(CK_TRUE, slots, &nr_slots) != CKR_OK)
		return;
	for (CK_ULONG i = 0; i < nr_slots; i++) {
		if (!matches(token, module, slots[i], &info))
			continue;
		token->nr_found++;
		token->module = module;
		token->slot = slots[i];
		token->info = info;
	}
}

static bool find_token(struct token *token)
{
	for (CK_FUNCTION_LIST **module = token->modules; *module; module++)
		look_in(token, *module);
	if (token->nr_found == 0)
		return NO_KEY("no such token is there");
	if (token->nr_found > 1)
		return NO_KEY("%u tokens match: name one with token= or serial=", token->nr_found);
	return true;
}

/* ---- session ---- */

static bool give_pin(struct token *token, const char *path)
{
	const struct key_source source = { .kind = KEY_SOURCE_PASSPHRASE, .name = path };
	const struct key_wanted wanted = { 0 };
	struct key_secret *pin;
	char why[KEY_WHY_BYTES];
	CK_RV rv;

	if (key_source_read(&source, &wanted, &pin, why) < 0)
		return NO_KEY("PIN file %s: %s", path, why);
	rv = token->module->C_Login(token->session, CKU_USER, pin->bytes, pin->nr_bytes);
	key_mem_free(pin);
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
		return true;
	if (rv == CKR_PIN_INCORRECT)
		return NO_KEY("the token says that the PIN in %s is wrong", path);
	return NO_KEY("the token does not take the PIN in %s: %s", path, p11_kit_strerror(rv));
}

/* A daemon that is started over and over must not use up the tries that a token grants. */
static bool log_in(struct token *token)
{
	const char *pin_source = p11_kit_uri_get_pin_source(token->uri);

	if (!(token->info.flags & CKF_LOGIN_REQUIRED))
		return true;
	if (!pin_source)
		return NO_KEY("the token wants a PIN: put it into a file, and name that with "
			      "?pin-source=file:/PATH");
	if (token->info.flags & CKF_USER_PIN_LOCKED)
		return NO_KEY("the token's PIN is locked");
	if (token->info.flags & CKF_USER_PIN_FINAL_TRY)
		return NO_KEY(
			"one more wrong PIN would lock the token: log in with another program "
			"first");
	return give_pin(token, key_token_pin_path(pin_source));
}

static bool open_session(struct token *token)
{
	const CK_RV rv = token->module->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL,
						      &token->session);

	if (rv != CKR_OK)
		return NO_KEY("the token opens no session: %s", p11_kit_strerror(rv));
	return log_in(token);
}

/* ---- key ---- */

static bool find_key(struct token *token)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_ATTRIBUTE wanted[ATTRIBUTES_MAX] = { { CKA_CLASS, &class, sizeof(class) } };
	CK_OBJECT_HANDLE found[2];
	CK_ULONG nr_wanted = 1, nr_found = 0, nr_given;
	const CK_ATTRIBUTE *given = p11_kit_uri_get_attributes(token->uri, &nr_given);
	CK_RV rv;

	for (CK_ULONG i = 0; i < nr_given && nr_wanted < ATTRIBUTES_MAX; i++)
		if (given[i].type != CKA_CLASS)
			wanted[nr_wanted++] = given[i];
	rv = token->module->C_FindObjectsInit(token->session, wanted, nr_wanted);
	if (rv == CKR_OK)
		rv = token->module->C_FindObjects(token->session, found, ARRAY_LEN(found),
						  &nr_found);
	if (rv == CKR_OK)
		rv = token->module->C_FindObjectsFinal(token->session);
	if (rv != CKR_OK)
		return NO_KEY("the token cannot look for the key: %s", p11_kit_strerror(rv));
	if (nr_found != 1)
		return NO_KEY(nr_found == 0 ? "the token has no such secret key"
					    : "more than one key of the token matches: give both "
					      "object= and id=");
	token->key = found[0];
	return true;
}

/* A token that keeps the length to itself is believed. */
static bool is_long_enough(const struct token *token)
{
	CK_ULONG nr_bytes = 0;
	CK_ATTRIBUTE length = { CKA_VALUE_LEN, &nr_bytes, sizeof(nr_bytes) };
	const CK_RV rv = token->module->C_GetAttributeValue(token->session, token->key, &length, 1);

	if (rv == CKR_OK && nr_bytes < KEY_FILE_BYTES_MIN)
		return NO_KEY("the token's key has %lu bytes: 32 at least are wanted", nr_bytes);
	return true;
}
_Static_assert(KEY_FILE_BYTES_MIN == 32, "says the message");

static bool make_hmac(const struct token *token, const char *message,
		      uint8_t ret_hmac[KEY_TOKEN_SECRET_BYTES])
{
	CK_MECHANISM hmac = { CKM_SHA256_HMAC, NULL, 0 };
	CK_ULONG nr_bytes = KEY_TOKEN_SECRET_BYTES;
	CK_RV rv = token->module->C_SignInit(token->session, &hmac, token->key);

	if (rv == CKR_OK)
		rv = token->module->C_Sign(token->session, (CK_BYTE_PTR)(uintptr_t)message,
					   strlen(message), ret_hmac, &nr_bytes);
	if (rv == CKR_OK && nr_bytes != KEY_TOKEN_SECRET_BYTES)
		rv = CKR_FUNCTION_FAILED;
	if (rv != CKR_OK)
		return NO_KEY("the token makes no HMAC-SHA-256 with this key: %s",
			      p11_kit_strerror(rv));
	return true;
}

static bool ask_token(struct token *token, const char *message,
		      uint8_t ret_hmac[KEY_TOKEN_SECRET_BYTES])
{
	return find_token(token) && open_session(token) && find_key(token) &&
	       is_long_enough(token) && make_hmac(token, message, ret_hmac);
}

/* ---- the child ---- */

/* A module may print: not among the bytes of the key. Returns what stands for standard output. */
static int move_stdout(void)
{
	const int out = dup(STDOUT_FILENO);

	return dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ? -1 : out;
}

int key_token_run(const void *arg)
{
	const struct key_token_order *order = arg;
	const int out = move_stdout();
	struct token token = { .uri = p11_kit_uri_new() };
	uint8_t *hmac = key_mem_new(KEY_TOKEN_SECRET_BYTES);
	bool has_key = false;

	if (out < 0 || !hmac || !token.uri ||
	    p11_kit_uri_parse(order->uri, P11_KIT_URI_FOR_ANY, token.uri) != P11_KIT_URI_OK)
		say("no memory for a key");
	else
		token.modules = load_modules(&token);
	if (token.modules) {
		has_key = ask_token(&token, order->message, hmac);
		end_modules(&token);
	}
	if (has_key && write(out, hmac, KEY_TOKEN_SECRET_BYTES) != KEY_TOKEN_SECRET_BYTES)
		has_key = NO_KEY("the key cannot be passed on");
	key_mem_free(hmac);
	return has_key ? 0 : KEY_CHILD_HAS_SAID_WHY;
}

const char *key_token_pin_path(const char *pin_source)
{
	static const char scheme[] = "file:";
	const char *path = pin_source + sizeof(scheme) - 1;

	if (strncmp(pin_source, scheme, sizeof(scheme) - 1) != 0)
		return NULL;
	if (strncmp(path, "//", 2) == 0)
		path += 2;
	return path[0] == '/' && path[1] ? path : NULL;
}
