/* SPDX-License-Identifier: MIT */
/* The actions of the control socket's verbs. */
#ifndef ACTIONS_H
#define ACTIONS_H

#include "control/server.h"
#include "server.h"

/* Borrows @server. */
struct control_actions server_actions(struct server *server);

#endif
