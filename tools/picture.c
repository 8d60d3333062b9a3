/* SPDX-License-Identifier: MIT */
/* A disk as SVG: see picture.h. All places are whole pixels, so that edges are crisp. */
#include "picture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "control/size_text.h"
#include "print.h"
#include "sealblk/units.h"
#include "svg_text.h"

enum {
	/* Of the whole picture, in pixels. */
	LEFT = 96, /* room for the rows' offsets */
	GRID_WIDTH = 1024,
	RIGHT = LEFT + GRID_WIDTH,
	WIDTH = RIGHT + 40,
	NAME_Y = 52,
	FACTS_Y = 80,
	BAR_Y = 104,
	BAR_HEIGHT = 12,
	GRID_Y = 140,
	LABEL_STEP = 56, /* between the offsets of two rows, at least */
	CAPTION_HEIGHT = 34,
	LEGEND_HEIGHT = 28, /* of a line */
	BOTTOM = 28,

	COLUMNS_MAX = 128,
	NAME_CHARS_MAX = 44, /* that fit beside the badge */
	BASE_CHARS_MAX = 40,
};

/* From the bottom of a cell to its top; zero is the empty glass. */
static const enum report_state fill_order[] = { REPORT_DAMAGED, REPORT_PLAIN, REPORT_BASE,
						REPORT_SEALED, REPORT_ZERO };
static const enum report_state legend_order[] = { REPORT_SEALED, REPORT_BASE, REPORT_PLAIN,
						  REPORT_ZERO, REPORT_DAMAGED };

/* After Okabe and Ito, whose colours differ in brightness as well. */
static const struct {
	const char *colour;
	const char *meaning;
} looks[REPORT_STATES] = {
	[REPORT_BASE] = { "#f0c040", "plaintext, from the base" },
	[REPORT_ZERO] = { "#e4e8ee", "reads as zeros, stored nowhere" },
	[REPORT_PLAIN] = { "#d55e00", "plaintext, written while encryption was off" },
	[REPORT_SEALED] = { "#0072b2", "encrypted" },
	[REPORT_DAMAGED] = { "#111111", "cannot be read: its map block is damaged" },
};

#define INK   "#1b2733"
#define FAINT "#5b6875"

/* ---- counting ---- */

int picture_init(struct picture *picture, uint64_t disk_sectors)
{
	uint64_t cell_sectors = 1;

	while ((disk_sectors + cell_sectors - 1) / cell_sectors > PICTURE_CELLS_MAX)
		cell_sectors *= 2;
	*picture = (struct picture){
		.disk_sectors = disk_sectors,
		.cell_sectors = cell_sectors,
		.nr_cells = (uint32_t)((disk_sectors + cell_sectors - 1) / cell_sectors),
	};
	picture->cells = calloc(picture->nr_cells, sizeof(*picture->cells));
	return picture->cells ? 0 : -ENOMEM;
}

void picture_done(struct picture *picture)
{
	free(picture->cells);
	picture->cells = NULL;
}

int picture_add(void *arg, uint64_t first_sector, uint64_t nr_sectors, enum report_state state)
{
	struct picture *picture = arg;
	uint64_t end = picture->disk_sectors;

	if (first_sector < end && nr_sectors < end - first_sector)
		end = first_sector + nr_sectors;
	while (first_sector < end) {
		uint64_t cell = first_sector / picture->cell_sectors;
		uint64_t stop = min_u64((cell + 1) * picture->cell_sectors, end);

		picture->cells[cell][state] += stop - first_sector;
		picture->sectors[state] += stop - first_sector;
		first_sector = stop;
	}
	return 0;
}

/* ---- what info says ---- */

static const char *base_name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static const char *string_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* ---- head ---- */

static void print_badge(bool encrypted, FILE *to)
{
	enum { BADGE_WIDTH = 200, BADGE_HEIGHT = 32, BADGE_Y = 30 };
	const char *colour = encrypted ? looks[REPORT_SEALED].colour : looks[REPORT_PLAIN].colour;

	fprintf(to,
		"<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"16\" fill=\"%s\" "
		"stroke=\"%s\" stroke-width=\"2\"/>\n",
		RIGHT - BADGE_WIDTH - 1, BADGE_Y, BADGE_WIDTH, BADGE_HEIGHT,
		encrypted ? colour : "#ffffff", colour);
	fprintf(to,
		"<text id=\"server-encrypted\" x=\"%d\" y=\"%d\" text-anchor=\"middle\" "
		"font-weight=\"bold\" fill=\"%s\">server encrypted: %s</text>\n",
		RIGHT - BADGE_WIDTH / 2 - 1, BADGE_Y + 21, encrypted ? "#ffffff" : "#a84300",
		encrypted ? "yes" : "no");
}

static void print_facts(const struct picture *picture, const json_t *info, FILE *to)
{
	const json_t *base = json_object_get(info, "base");
	bool enabled =
		json_is_true(json_object_get(json_object_get(info, "encryption"), "enabled"));
	char size[SIZE_TEXT_BYTES];

	fprintf(to, "<text x=\"%d\" y=\"%d\" fill=\"" FAINT "\">disk of %s (", LEFT, FACTS_Y,
		size_text(sectors_to_bytes(picture->disk_sectors), size));
	svg_print_number(sectors_to_bytes(picture->disk_sectors), to);
	fprintf(to, " bytes) · encryption %s · ", enabled ? "on" : "off");
	svg_print_escaped(string_of(info, "state"), BASE_CHARS_MAX, to);
	if (json_is_object(base)) {
		fputs(" · base ", to);
		svg_print_escaped(base_name_of(string_of(base, "path_absolute")), BASE_CHARS_MAX,
				  to);
	}
	fputs("</text>\n", to);
}

/* All of the disk in one bar. The last pixels go to whoever comes last. */
static void print_bar(const struct picture *picture, FILE *to)
{
	uint64_t before = 0;

	for (size_t i = 0; i < ARRAY_LEN(legend_order); i++) {
		enum report_state state = legend_order[i];
		uint64_t after = before + picture->sectors[state];
		int x = (int)(before * GRID_WIDTH / picture->disk_sectors);
		int end = (int)(after * GRID_WIDTH / picture->disk_sectors);

		before = after;
		if (picture->sectors[state] == 0)
			continue;
		fprintf(to, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n",
			LEFT + (end > x		 ? x
				: x < GRID_WIDTH ? x
						 : GRID_WIDTH - 1),
			BAR_Y, end > x ? end - x : 1, BAR_HEIGHT, looks[state].colour);
	}
}

/* ---- grid ---- */

struct grid {
	const struct picture *picture;
	uint32_t columns;
	uint32_t rows;
	uint32_t cell_px;
	FILE *to;
};

static struct grid grid_of(const struct picture *picture, FILE *to)
{
	struct grid grid = { .picture = picture, .columns = COLUMNS_MAX, .to = to };

	/* Twice as wide as high, or flatter. */
	while (grid.columns > 16 && picture->nr_cells < grid.columns * grid.columns / 8)
		grid.columns /= 2;
	grid.rows = (picture->nr_cells + grid.columns - 1) / grid.columns;
	grid.cell_px = GRID_WIDTH / grid.columns;
	return grid;
}

static enum report_state highest(const uint32_t px[REPORT_STATES])
{
	unsigned int most = 0;

	for (unsigned int i = 1; i < REPORT_STATES; i++)
		if (px[i] > px[most])
			most = i;
	return (enum report_state)most;
}

/*
 * How many pixels of a cell's height each state has, all of them together. One
 * that is there has at least one: what that adds, those with most give.
 */
static void fill_cell(const struct grid *grid, uint32_t cell, uint32_t ret_px[REPORT_STATES])
{
	const uint64_t *sectors = grid->picture->cells[cell];
	uint32_t height = grid->cell_px - 1, used = 0;
	uint64_t all = 0;

	for (unsigned int i = 0; i < REPORT_STATES; i++)
		all += sectors[i];
	for (unsigned int i = 0; i < REPORT_STATES; i++) {
		ret_px[i] = all ? (uint32_t)(sectors[i] * height / all) : 0;
		if (sectors[i] > 0 && ret_px[i] == 0)
			ret_px[i] = 1;
		used += ret_px[i];
	}
	for (; all && used < height; used++)
		ret_px[highest(ret_px)]++;
	for (; used > height; used--)
		ret_px[highest(ret_px)]--;
}
_Static_assert(GRID_WIDTH / COLUMNS_MAX - 1 >= REPORT_STATES, "a pixel for each state");

/* Cells [@from, @to) of a row, alike: the part of @state, as a piece of its path. */
static void print_piece(const struct grid *grid, uint32_t row, uint32_t from, uint32_t to,
			const uint32_t px[REPORT_STATES], enum report_state state)
{
	uint32_t bottom = GRID_Y + (row + 1) * grid->cell_px - 1;
	uint32_t width = (to - from) * grid->cell_px - 1;

	if (px[state] == 0)
		return;
	for (size_t i = 0; fill_order[i] != state; i++)
		bottom -= px[fill_order[i]];
	fprintf(grid->to, "M%u %uh%uv%uh-%uz", LEFT + from * grid->cell_px, bottom - px[state],
		width, px[state], width);
}

static void print_row(const struct grid *grid, uint32_t row, enum report_state state)
{
	uint32_t first = row * grid->columns;
	uint32_t nr = (uint32_t)min_u64(grid->columns, grid->picture->nr_cells - first);
	uint32_t from = 0;

	while (from < nr) {
		uint32_t px[REPORT_STATES], next[REPORT_STATES];
		uint32_t to = from + 1;

		fill_cell(grid, first + from, px);
		for (; to < nr; to++) {
			fill_cell(grid, first + to, next);
			if (memcmp(px, next, sizeof(px)) != 0)
				break;
		}
		print_piece(grid, row, from, to, px, state);
		from = to;
	}
}

/* One path for each state, and one of the gaps between columns over all of them. */
static void print_grid(const struct grid *grid)
{
	for (unsigned int i = 0; i < REPORT_STATES; i++) {
		enum report_state state = (enum report_state)i;

		if (grid->picture->sectors[state] == 0)
			continue;
		fprintf(grid->to, "<path id=\"cells-%s\" fill=\"%s\" d=\"",
			report_state_name(state), looks[state].colour);
		for (uint32_t row = 0; row < grid->rows; row++)
			print_row(grid, row, state);
		fputs("\"/>\n", grid->to);
	}
	fputs("<path id=\"gaps\" fill=\"#ffffff\" d=\"", grid->to);
	for (uint32_t i = 1; i < grid->columns; i++)
		fprintf(grid->to, "M%u %dh1v%uh-1z", LEFT + i * grid->cell_px - 1, GRID_Y,
			grid->rows * grid->cell_px);
	fputs("\"/>\n", grid->to);
}

/* The offsets on the disk at which rows begin. */
static void print_offsets(const struct grid *grid)
{
	uint64_t row_bytes = sectors_to_bytes(grid->picture->cell_sectors) * grid->columns;
	uint32_t step = 1;

	while (step * grid->cell_px < LABEL_STEP)
		step *= 2;
	fputs("<g font-size=\"12\" text-anchor=\"end\" fill=\"" FAINT "\">\n", grid->to);
	for (uint32_t row = 0; row < grid->rows; row += step) {
		fprintf(grid->to, "<text x=\"%d\" y=\"%u\">", LEFT - 10,
			GRID_Y + row * grid->cell_px + 10);
		svg_print_offset(row * row_bytes, grid->to);
		fputs("</text>\n", grid->to);
	}
	fputs("</g>\n", grid->to);
}

/* ---- legend ---- */

static void print_legend_line(const struct picture *picture, enum report_state state, uint32_t y,
			      FILE *to)
{
	uint64_t sectors = picture->sectors[state];
	const char *name = report_state_name(state);
	char size[SIZE_TEXT_BYTES];

	fprintf(to, "<rect x=\"%d\" y=\"%u\" width=\"16\" height=\"16\" rx=\"2\" fill=\"%s\"/>\n",
		LEFT, y - 13, looks[state].colour);
	fprintf(to, "<text x=\"%d\" y=\"%u\" font-weight=\"bold\">%s</text>\n", LEFT + 28, y, name);
	fprintf(to, "<text x=\"%d\" y=\"%u\" fill=\"" FAINT "\">%s</text>\n", LEFT + 112, y,
		looks[state].meaning);
	fprintf(to, "<text id=\"sectors-%s\" x=\"%d\" y=\"%u\" text-anchor=\"end\">", name,
		RIGHT - 260, y);
	svg_print_number(sectors, to);
	fprintf(to, "</text>\n<text x=\"%d\" y=\"%u\" fill=\"" FAINT "\">sectors</text>\n",
		RIGHT - 252, y);
	fprintf(to, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">%s</text>\n", RIGHT - 90, y,
		size_text(sectors_to_bytes(sectors), size));
	fprintf(to,
		"<text id=\"share-%s\" x=\"%d\" y=\"%u\" text-anchor=\"end\" "
		"font-weight=\"bold\">",
		name, RIGHT - 1, y);
	svg_print_share(sectors, picture->disk_sectors, to);
	fputs("</text>\n", to);
}

static bool has_legend(const struct picture *picture, enum report_state state)
{
	return state != REPORT_DAMAGED || picture->sectors[state] > 0;
}

static void print_legend(const struct grid *grid)
{
	const struct picture *picture = grid->picture;
	uint32_t y = GRID_Y + grid->rows * grid->cell_px + 22;

	fprintf(grid->to,
		"<text x=\"%d\" y=\"%u\" font-size=\"12\" fill=\"" FAINT "\">row by row from the "
		"disk's first byte; each cell is ",
		LEFT, y);
	svg_print_offset(sectors_to_bytes(picture->cell_sectors), grid->to);
	fputs(", filled by share</text>\n", grid->to);
	y += CAPTION_HEIGHT;
	for (size_t i = 0; i < ARRAY_LEN(legend_order); i++) {
		if (!has_legend(picture, legend_order[i]))
			continue;
		print_legend_line(picture, legend_order[i], y, grid->to);
		y += LEGEND_HEIGHT;
	}
}

/* ---- all of it ---- */

static uint32_t height_of(const struct grid *grid)
{
	uint32_t lines = has_legend(grid->picture, REPORT_DAMAGED) ? 5 : 4;

	return GRID_Y + grid->rows * grid->cell_px + 22 + CAPTION_HEIGHT +
	       (lines - 1) * LEGEND_HEIGHT + BOTTOM;
}

void picture_print(const struct picture *picture, const char *name, const json_t *info, FILE *to)
{
	const struct grid grid = grid_of(picture, to);
	bool encrypted = json_is_true(json_object_get(info, "server_encrypted"));
	uint32_t height = height_of(&grid);

	fprintf(to,
		"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"%d\" "
		"height=\"%u\" viewBox=\"0 0 %d %u\"\n"
		"     font-family=\"'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif\" "
		"font-size=\"14\" fill=\"" INK "\">\n<title>",
		WIDTH, height, WIDTH, height);
	svg_print_escaped(base_name_of(name), PATH_BYTES_MAX, to);
	fputs(": what its sectors hold</title>\n<desc>Cells of equal size, row by row from the "
	      "first byte of the disk to its last, coloured by the state of their sectors.</desc>\n",
	      to);
	fprintf(to, "<rect width=\"%d\" height=\"%u\" fill=\"#ffffff\"/>\n", WIDTH, height);
	fprintf(to, "<text id=\"image\" x=\"%d\" y=\"%d\" font-size=\"26\" font-weight=\"bold\">",
		LEFT, NAME_Y);
	svg_print_escaped(base_name_of(name), NAME_CHARS_MAX, to);
	fputs("</text>\n", to);
	print_badge(encrypted, to);
	print_facts(picture, info, to);
	fputs("<g shape-rendering=\"crispEdges\">\n", to);
	print_bar(picture, to);
	print_grid(&grid);
	fputs("</g>\n", to);
	print_offsets(&grid);
	print_legend(&grid);
	fputs("</svg>\n", to);
}
