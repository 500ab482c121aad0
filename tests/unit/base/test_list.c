/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct list_link link;
};

LIST_DECLARE(item_list, struct item, link);

static void assert_order(const struct item_list *l, const int *numbers, size_t count)
{
    struct item *e = item_list_first(l);

    assert_int_equal(l->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_non_null(e);
        assert_int_equal(e->number, numbers[i]);
        assert_true(item_list_has(e));
        if (i + 1 == count) {
            assert_ptr_equal(e, item_list_last(l));
        }
        e = item_list_next(l, e);
    }
    assert_null(e);
}

static void zeroed_is_empty(void **state)
{
    struct item_list l = {0};
    struct item e = {0};

    (void)state;
    assert_null(item_list_first(&l));
    assert_null(item_list_last(&l));
    assert_null(item_list_pop(&l));
    assert_false(item_list_has(&e));
}

static void keeps_the_order(void **state)
{
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct item_list l = {0};

    (void)state;
    for (int i = 0; i < 4; i++) {
        item_list_push(&l, &items[i]);
    }
    assert_order(&l, (int[]){0, 1, 2, 3}, 4);
    item_list_remove(&l, &items[1]);
    assert_false(item_list_has(&items[1]));
    assert_order(&l, (int[]){0, 2, 3}, 3);
    item_list_push(&l, &items[1]);
    assert_order(&l, (int[]){0, 2, 3, 1}, 4);
    item_list_remove(&l, &items[0]);
    item_list_remove(&l, &items[1]);
    assert_order(&l, (int[]){2, 3}, 2);
    assert_ptr_equal(item_list_pop(&l), &items[2]);
    assert_ptr_equal(item_list_pop(&l), &items[3]);
    assert_null(item_list_pop(&l));
    assert_int_equal(l.count, 0);
    item_list_push(&l, &items[0]);
    assert_order(&l, (int[]){0}, 1);
}

static void elements_move_between_lists(void **state)
{
    struct item e = {.number = 7};
    struct item_list a = {0};
    struct item_list b = {0};

    (void)state;
    item_list_push(&a, &e);
    item_list_remove(&a, &e);
    item_list_push(&b, &e);
    assert_order(&a, NULL, 0);
    assert_order(&b, (int[]){7}, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_is_empty),
        cmocka_unit_test(keeps_the_order),
        cmocka_unit_test(elements_move_between_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
