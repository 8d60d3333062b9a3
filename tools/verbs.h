/* SPDX-License-Identifier: MIT */
/* What the verbs do: a file each. See struct verb in options.h for the results. */
#ifndef TOOLS_VERBS_H
#define TOOLS_VERBS_H

#include "options.h"

int MUST_CHECK verb_attach_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_attach(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_detach(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_check_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_create_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_create(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encryption_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encryption_on(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encryption_off(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encryption_status(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_events(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_info(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_export(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_list(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_add_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_add(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_remove_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_remove(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_restore(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_revoke_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_revoke(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_key_rotate(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_map_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_map(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encrypt(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encrypt_start(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encrypt_status(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encrypt_pause(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_encrypt_resume(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_rekey(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_rekey_start(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_rekey_status(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_rekey_pause(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_rekey_resume(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_rewrite_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_convert_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_convert(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_export_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_export(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_import(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_vhd_check(const struct tool_options *options, struct problem *problem);
int MUST_CHECK verb_vhd_info(const struct tool_options *options, struct problem *problem);

#endif
